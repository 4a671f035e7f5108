-- Dead letters that are sent again, alone or many at once.

alter table delivery
  -- Attempts made before a person sent it again: they are kept and numbered on, but the attempts it may take start anew.
  add column attempts_before smallint not null default 0,
  -- Rendered from this version, whatever is current.
  add column pinned_template_id bigint;

-- What many reasons have in common: without ids, times, addresses and long numbers. Status codes stay.
create function group_of_reason(reason text) returns text language sql immutable strict parallel safe as $$
  select left(btrim(
    regexp_replace(
      regexp_replace(
        regexp_replace(
          regexp_replace(
            regexp_replace(reason, ' \(attempt \d+ was the last\)$', ''),
            '\S+@\S+|\y[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\y', '#', 'gi'),
          '\y\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?', '#', 'g'),
        '\y(?=\w*\d)(?=\w*[a-z])\w{10,}\y', '#', 'gi'),
      '\d{4,}', '#', 'g')), 200)
$$;

alter table dead add column reason_group text not null generated always as (group_of_reason(reason)) stored;
create index dead_at on dead (at desc, delivery_id desc);

-- One sending again of all dead letters that fit a filter. It goes through them by delivery id, page by page; `cursor`
-- moves in the transaction that puts the page back into the queue.
create table replay (
  id bigint primary key,
  company_id text not null default '',
  started_by text not null, -- id of the API key
  idempotency_key text not null,
  body_hash bytea not null,
  filter jsonb not null,
  template text not null check (template in ('same', 'current')),
  rate_per_second integer not null check (rate_per_second > 0),
  status text not null default 'running' check (status in ('running', 'done', 'stopped')),
  cursor bigint not null default 0, -- the last delivery looked at
  sent_until timestamptz not null default now(), -- what was put back is due until here, at this rate
  total integer not null, -- could be sent at the start
  requeued integer not null default 0,
  expired integer not null default 0,
  cancelled integer not null default 0,
  created_at timestamptz not null default now(),
  finished_at timestamptz,
  unique (company_id, idempotency_key)
);
-- Two people who start the same at the same time start one.
create unique index replay_running on replay (company_id, md5(filter::text)) where status = 'running';
create index replay_due on replay (sent_until) where status = 'running';
