-- Every delivery is updated once at least: with as much room left on its page as it takes, that touches no index, and
-- takes no more of the disk than versions that are written elsewhere.
create or replace function add_partition(parent text, monday timestamptz) returns void language plpgsql as $$
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
  if parent = 'delivery' then
    execute format('alter table %I set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)', name);
  end if;
end $$;

do $$
declare
  name text;
begin
  for name in select time_partition.name from time_partition where parent = 'delivery' and not is_default loop
    execute format('alter table %I set (fillfactor = 50)', name);
  end loop;
end $$;

-- The list of what is leased changes with each result, and is soon gone: it is not worth compressing.
alter table lease set (toast_tuple_target = 8160);
