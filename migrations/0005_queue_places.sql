-- The queue by channel, lane and flow, so that nobody waits for another's work.

-- A number for each channel, as `ready` is kept narrow. Numbers are never reused.
create table channel (
  number smallint generated always as identity primary key,
  name text not null unique
);

-- The number of a channel, which gets one when it is met for the first time.
create function channel_number(wanted text) returns smallint language plpgsql as $$
declare
  found_number smallint;
begin
  select number into found_number from channel where name = wanted;
  if found_number is null then
    insert into channel (name) values (wanted) on conflict do nothing;
    select number into strict found_number from channel where name = wanted;
  end if;
  return found_number;
end $$;

-- Work that takes turns: the high half of the number stands for the company, the low half for its campaign. Never 0.
create function flow_of(company_id text, campaign_id bigint) returns bigint language sql immutable parallel safe as $$
  select hashtextextended(company_id, 0) & 9223372032559808512
    | coalesce(hashint8extended(campaign_id, 0) & 4294967294, 0) | 1
$$;

-- Due and future work. A row leaves when it is claimed. Flow 0 is common: what is not due yet, and second attempts; every
-- other row is due.
alter table ready rename to ready_before;
alter table ready_before rename constraint ready_pkey to ready_before_pkey;
create table ready (
  channel smallint not null,
  lane smallint not null,
  priority smallint not null,
  flow bigint not null default 0,
  run_at timestamptz not null,
  id bigint not null,
  primary key (channel, lane, priority, flow, run_at, id)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

insert into channel (name) select distinct delivery.channel from ready_before join delivery using (id) order by 1;
insert into ready (channel, lane, priority, run_at, id)
select channel.number, ready_before.lane, ready_before.priority, ready_before.run_at, id
from ready_before join delivery using (id) join channel on channel.name = delivery.channel;
create or replace view live_delivery as
select id from ready union all select unnest(ids) from lease union all select delivery_id from dead;
drop table ready_before;

-- Everything in it counts as begun: its claim is the note that sending begins.
alter table lease add column started boolean not null default false;
