-- Partitions that come in time and go in time, and vacuum that keeps up.

-- The partitions by time; both bounds are row ids, and a default partition has none.
create view time_partition as
select parent.relname::text as parent, child.relname::text as name, bound = 'DEFAULT' as is_default,
  substring(bound from 'FROM \(''?(\d+)''?\)')::bigint as from_id,
  substring(bound from 'TO \(''?(\d+)''?\)')::bigint as to_id
from pg_inherits
join pg_class parent on parent.oid = inhparent
join pg_class child on child.oid = inhrelid,
  pg_get_expr(child.relpartbound, child.oid) as bound
where inhparent in ('event'::regclass, 'delivery'::regclass, 'attempt_log'::regclass);

-- Makes one weekly partition, and takes over the rows of that week which came before it. Throws `lock_not_available`
-- rather than make everybody wait behind somebody's long transaction.
create function add_partition(parent text, monday timestamptz) returns void language plpgsql as $$
declare
  name text := parent || to_char(monday at time zone 'UTC', '_YYYYMMDD');
  strays text := parent || '_other';
  id text := case parent when 'attempt_log' then 'delivery_id' else 'id' end;
  from_id bigint := row_id_at(monday);
  to_id bigint := row_id_at(monday + interval '7 days');
begin
  perform set_config('lock_timeout', '2s', true);
  execute format('lock table %I in access exclusive mode', strays);
  execute format('create table %I (like %I including all)', name, parent);
  execute format('with moved as (delete from %I where %I >= $1 and %2$I < $2 returning *) insert into %I select * from moved',
    strays, id, name) using from_id, to_id;
  execute format('alter table %I attach partition %I for values from (%s) to (%s)', parent, name, from_id, to_id);
  -- Deliveries are updated once or a few times: room on their page keeps that cheap.
  if parent = 'delivery' then
    execute format('alter table %I set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)', name);
  end if;
end $$;

-- Makes the weekly partitions from the week of `since` on, and returns how many it could not make now. Safe to repeat and
-- to run in several processes.
drop function create_partitions(timestamptz, integer);
create function create_partitions(since timestamptz, weeks integer) returns integer language plpgsql as $$
declare
  parent text;
  monday timestamptz;
  locked text[] := '{}';
  missing integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('eventcenter:partitions'));
  for i in 0..weeks - 1 loop
    monday := (date_trunc('week', since at time zone 'UTC') + make_interval(weeks => i)) at time zone 'UTC';
    foreach parent in array array['event', 'delivery', 'attempt_log'] loop
      continue when to_regclass(parent || to_char(monday at time zone 'UTC', '_YYYYMMDD')) is not null;
      begin
        if parent <> all (locked) then
          perform add_partition(parent, monday);
          continue;
        end if;
      exception when lock_not_available then
        locked := locked || parent;
      end;
      missing := missing + 1;
    end loop;
  end loop;
  return missing;
end $$;

-- What waits for a worker, is held by one, or waits for a person.
create view live_delivery as
select id from ready union all select unnest(ids) from lease union all select delivery_id from dead;

-- Whether some pages of a partition of `delivery` hold one that is not final. By right those are all in `live_delivery`;
-- one that an error lost there must not be lost altogether. Null when there are no such pages.
create function has_unfinished(partition_name text, from_page integer, pages integer) returns boolean
language plpgsql as $$
declare
  found boolean;
begin
  if from_page >= pg_relation_size(partition_name::regclass) / current_setting('block_size')::integer then
    return null;
  end if;
  execute format('select exists (select from %I where ctid >= $1 and ctid < $2 and state in (0, 9))', partition_name)
  into found using format('(%s,0)', from_page)::tid, format('(%s,0)', from_page + pages)::tid;
  return found;
end $$;

-- Why a partition must stay, or null.
create function partition_in_use(partition_name text) returns text language plpgsql stable as $$
declare
  part record;
begin
  select * into part from time_partition where name = partition_name and not is_default;
  if part.parent = 'delivery' then
    if exists (select from live_delivery where id >= part.from_id and id < part.to_id) then return 'deliveries wait'; end if;
    return null;
  end if;
  -- What belongs to deliveries goes after them.
  if exists (select from time_partition where parent = 'delivery' and from_id = part.from_id) then
    return 'its deliveries are kept';
  end if;
  if part.parent = 'event' and exists (
    select from live_delivery join delivery using (id) where event_id >= part.from_id and event_id < part.to_id
  ) then
    return 'deliveries wait';
  end if;
  return null;
end $$;

-- Drops a partition that is over and not in use, and returns null; or returns why it stays.
create function drop_partition(partition_name text, before timestamptz) returns text language plpgsql as $$
declare
  part record;
  reason text;
begin
  perform pg_advisory_xact_lock(hashtext('eventcenter:partitions'));
  select * into part from time_partition where name = partition_name and not is_default;
  if not found then return null; end if;
  if part.to_id > row_id_at(before) then return 'too young'; end if;
  reason := partition_in_use(partition_name);
  if reason is not null then return reason; end if;

  perform set_config('lock_timeout', '2s', true);
  execute format('alter table %I detach partition %I', part.parent, partition_name);
  execute format('drop table %I', partition_name);
  return null;
exception when lock_not_available then
  return 'locked';
end $$;

-- Deletes old idempotency keys on some pages of one part of the table, which has no index by time: a sweep goes through
-- all pages, bit by bit. An event's own id is known for as long as the event. Returns how many it deleted; null when
-- there are no such pages.
create function delete_old_keys(part integer, from_page integer, pages integer, before timestamptz) returns integer
language plpgsql as $$
declare
  name text := format('idem_%s', part);
  deleted integer;
begin
  if from_page >= pg_relation_size(name::regclass) / current_setting('block_size')::integer then return null; end if;
  -- Ids that EventCenter made for an event end like this (src/core/id.ts).
  execute format(
    'delete from %I where ctid >= $1 and ctid < $2 and created_at < $3 and not exists (
       select from event where event.id = %1$I.event_id and event.event_id not like ''%%65766e74636e'')', name)
  using format('(%s,0)', from_page)::tid, format('(%s,0)', from_page + pages)::tid, before;
  get diagnostics deleted = row_count;
  return deleted;
end $$;

-- Vacuum ----------------------------------------------------------------------------------------------------------------

-- Small tables whose rows come and go with every delivery are in 0001; these change less, and grow more.
alter table inbox set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
alter table notification set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
alter table dead set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
alter table trace set (autovacuum_vacuum_scale_factor = 0.05);

do $$
declare
  name text;
begin
  for name in select time_partition.name from time_partition where parent = 'delivery' loop
    execute format('alter table %I set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)', name);
  end loop;
  for i in 0..15 loop
    execute format('alter table idem_%s set (autovacuum_vacuum_scale_factor = 0.05)', i);
  end loop;
end $$;
