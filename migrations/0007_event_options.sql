-- What an event may ask for: to be cancelled with others, to take the place of an earlier one, to be taken once for its
-- business key, to be sent after those before it. An event that asks for none of it costs nothing of this.

-- Cancelling ----------------------------------------------------------------------------------------------------------

-- Cancels every event of the key that was accepted until then, however many there are: whoever is about to send looks
-- here, if its event has a key.
create table cancellation (
  company_id text not null,
  cancellation_key text not null,
  at timestamptz not null,
  primary key (company_id, cancellation_key)
);

-- What is left to be ended of events that were cancelled or superseded, so that nothing waits in the queue in vain. Of one
-- event, or of all that `cancellation` covers.
create table withdrawal (
  id bigint generated always as identity primary key,
  event_id bigint,
  company_id text,
  cancellation_key text,
  until timestamptz, -- of the key's events, those accepted until then
  cursor bigint not null default 0, -- the last of its deliveries, or of the key's events, that was looked at
  turn_at timestamptz not null default now(), -- whoever takes it puts it off: a process that dies has only put it off
  check ((event_id is null) = (cancellation_key is not null))
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
create index withdrawal_turn on withdrawal (turn_at);

drop index event_cancellation_key;
create index event_cancellation_key on event (company_id, cancellation_key, id) where cancellation_key is not null;

-- By id as well: a million deliveries of one event are gone through page by page.
drop index delivery_event;
create index delivery_event on delivery (event_id, id);

-- Collapse keys -------------------------------------------------------------------------------------------------------

alter table event add column collapse_key text;

-- The event that was accepted last under the key; the others are superseded. Which one is last is decided by this row's
-- lock, as the clocks of the processes that make row ids may differ.
create table collapse (
  company_id text not null,
  user_id text not null,
  collapse_key text not null,
  event_id bigint not null,
  waits_until timestamptz, -- until then its deliveries cannot have been sent
  superseded_id bigint, -- the event before it
  superseded_waits_until timestamptz,
  primary key (company_id, user_id, collapse_key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- Dedupe keys ---------------------------------------------------------------------------------------------------------

-- The event that was accepted under a business key, and is the answer to those that follow within its window.
create table dedupe (
  key uuid primary key, -- hash of company, type and key
  event_id bigint not null,
  public_event_id text not null,
  jobs_count integer,
  until timestamptz not null
) with (fillfactor = 80);
create index dedupe_until on dedupe (until);

-- Strict order --------------------------------------------------------------------------------------------------------

-- Hash of company, user, channel and ordering key.
alter table delivery add column thread uuid;

-- One row while a thread has deliveries that are not over. Its lock is what orders them: places are given out, and turns
-- are passed on, under it alone.
create table thread (
  key uuid primary key,
  head bigint not null, -- the delivery whose turn it is; the only one in the queue or in a lease
  last_place bigint not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

-- Those whose turn has not come.
create table thread_waiting (
  key uuid not null,
  place bigint not null,
  delivery_id bigint not null unique,
  primary key (key, place)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- What waits for a worker, for its turn, is held by a worker, or waits for a person.
create or replace view live_delivery as
select id from ready union all select unnest(ids) from lease union all select delivery_id from thread_waiting
union all select delivery_id from dead;

-- Gives the turn to the first that waits, or removes the thread. The caller has locked the thread.
create function pass_turn(thread_key uuid) returns void language plpgsql as $$
declare
  next_id bigint;
begin
  loop
    -- One that is being withdrawn at this moment is waited for: what comes after it must not overtake it.
    delete from thread_waiting where ctid = (
      select ctid from thread_waiting where key = thread_key order by place limit 1 for update
    ) returning delivery_id into next_id;
    if next_id is null then
      delete from thread where key = thread_key;
      return;
    end if;
    with due as (
      -- Due now and not when it was accepted: claims look little behind what they have seen.
      update delivery set run_at = greatest(run_at, least(clock_timestamp(), expires_at)) where id = next_id and state = 0
      returning channel, lane, priority, company_id, campaign_id, run_at, id
    )
    insert into ready (channel, lane, priority, flow, run_at, id)
    select channel_number(channel), lane, priority,
      case when run_at <= clock_timestamp() then flow_of(company_id, campaign_id) else 0 end, run_at, id
    from due;
    if found then
      update thread set head = next_id where key = thread_key;
      return;
    end if;
  end loop;
end $$;

-- Whoever ends a delivery whose turn it was passes the turn on before it commits: the threads of all that it ended, in the
-- order of their keys, in which accepting locks them too.
create function note_turn() returns trigger language plpgsql as $$
begin
  if exists (select from thread where key = new.thread and head = new.id) then
    perform set_config('eventcenter.turns',
      concat_ws(' ', nullif(current_setting('eventcenter.turns', true), ''), new.thread), true);
  end if;
  return null;
end $$;

create function pass_turns() returns trigger language plpgsql as $$
declare
  keys uuid[] := string_to_array(nullif(current_setting('eventcenter.turns', true), ''), ' ')::uuid[];
  thread_key uuid;
begin
  if keys is null then return null; end if;
  perform set_config('eventcenter.turns', '', true);
  for thread_key in
    select key from thread where key = any (keys) and not exists (
      select from delivery where delivery.id = head and state = 0) order by key for update
  loop
    perform pass_turn(thread_key);
  end loop;
  return null;
end $$;

create trigger delivery_a_note_turn after update of state on delivery for each row
  when (old.state = 0 and new.state <> 0 and new.thread is not null) execute function note_turn();
create constraint trigger delivery_b_pass_turns after update of state on delivery
  deferrable initially deferred for each row
  when (old.state = 0 and new.state <> 0 and new.thread is not null) execute function pass_turns();
