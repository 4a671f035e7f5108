-- The tables of EventCenter. Runs on PostgreSQL 15 and newer, without extensions.
--
-- company_id '' means platform-wide: a null could be neither part of a primary key nor found through an index.
-- Row ids are bigint, made by the processes and growing with time (src/core/id.ts), so `event`, `delivery` and
-- `attempt_log` are partitioned by id and old data is dropped, not deleted.

-- Processes --------------------------------------------------------------------------------------------------------

create table process (
  number smallint primary key check (number between 0 and 255), -- the process part of row ids
  process_id uuid not null,
  host text not null,
  pid integer not null,
  roles text[] not null,
  started_at timestamptz not null default now(),
  until timestamptz not null
);

-- Who may call ------------------------------------------------------------------------------------------------------

create table api_key (
  id text primary key,
  company_id text not null default '',
  name text not null,
  hash bytea not null unique, -- SHA-256 of the key, which is random enough to need no slow hash
  scopes text[] not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz
);

-- The directory -----------------------------------------------------------------------------------------------------

create table directory_user (
  company_id text not null default '',
  user_id text not null,
  locale text,
  time_zone text,
  profile jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (company_id, user_id)
);

create table address (
  id bigint generated always as identity primary key,
  company_id text not null default '',
  user_id text not null,
  channel text not null,
  value text not null,
  state text not null default 'active' check (state in ('active', 'blocked', 'suppressed')),
  reason text,
  evidence_delivery_id bigint,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (company_id, user_id, channel, value),
  foreign key (company_id, user_id) references directory_user on delete cascade
);

-- What can happen and how it is said: immutable versions, of which one is current -------------------------------------

create table event_type (
  id bigint generated always as identity primary key,
  company_id text not null default '',
  type text not null,
  version integer not null,
  definition jsonb not null,
  is_current boolean not null default true,
  created_at timestamptz not null default now(),
  unique (company_id, type, version)
);
create unique index event_type_current on event_type (company_id, type) where is_current;

create table template (
  id bigint generated always as identity primary key,
  public_id uuid not null default gen_random_uuid(), -- the same for all versions
  company_id text not null default '',
  template_code text not null,
  channel text not null,
  locale text not null,
  version integer not null,
  subject text,
  body text not null,
  is_current boolean not null default true,
  created_at timestamptz not null default now(),
  unique (company_id, template_code, channel, locale, version)
);
create unique index template_current on template (company_id, template_code, channel, locale) where is_current;
create index template_public_id on template (public_id);

-- Accepted events ---------------------------------------------------------------------------------------------------

create table idem (
  key uuid primary key, -- hash of company, kind of key and key
  event_id bigint not null,
  body_hash bytea not null,
  answer jsonb, -- of a batch; the answer of one event is made from its row
  created_at timestamptz not null default now()
) partition by hash (key);

do $$
begin
  for i in 0..15 loop
    execute format('create table idem_%s partition of idem for values with (modulus 16, remainder %s)', i, i);
  end loop;
end $$;

create table event (
  id bigint primary key,
  company_id text not null default '',
  event_id text not null, -- as the producer knows it
  type text not null,
  event_type_id bigint not null, -- the version that planned it
  payload jsonb not null, -- the event as accepted (src/core/event.ts)
  jobs_count integer,
  lane smallint not null,
  priority smallint not null,
  cancellation_key text,
  created_at timestamptz not null default now(),
  cancelled_at timestamptz
) partition by range (id);
create index event_cancellation_key on event (company_id, cancellation_key) where cancellation_key is not null;

-- Why somebody, or one channel to somebody, was left out.
create table trace (
  event_id bigint not null,
  user_id text,
  channel text,
  reason text not null,
  at timestamptz not null default now()
);
create index trace_event on trace (event_id);

-- The inbox ---------------------------------------------------------------------------------------------------------

-- One change log per user: every change of an inbox row takes the next `head` as its `seq`, in the same transaction.
create table inbox (
  company_id text not null default '',
  user_id text not null,
  head bigint not null default 0,
  primary key (company_id, user_id)
);

create table notification (
  id bigint primary key,
  event_id bigint not null, -- the event it shows now; a collapsing event replaces it
  public_event_id text not null, -- as the producer knows it; kept here, as events are dropped before inboxes
  company_id text not null default '',
  user_id text not null,
  type text not null,
  level text not null,
  seq bigint, -- its last change in the user's inbox; null where it is in the history alone
  title text,
  body text,
  cta jsonb,
  data jsonb not null default '{}',
  collapse_key text,
  created_at timestamptz not null default now(),
  shown_at timestamptz not null default now(), -- what waits for its time is not here yet
  seen_at timestamptz,
  read_at timestamptz,
  archived_at timestamptz,
  snoozed_until timestamptz
);
create index notification_changes on notification (company_id, user_id, seq) where seq is not null;
create index notification_history on notification (company_id, user_id, shown_at desc, id desc);
create index notification_unread on notification (company_id, user_id)
  where seq is not null and read_at is null and archived_at is null;
create index notification_snoozed on notification (snoozed_until) where snoozed_until is not null;
create index notification_event on notification (event_id);
create unique index notification_collapse on notification (company_id, user_id, collapse_key)
  where collapse_key is not null and archived_at is null;

-- Deliveries and their queue ----------------------------------------------------------------------------------------

-- `state` (src/core/delivery.ts) is in no index, so that the one update of a delivery's life can be heap-only.
create table delivery (
  id bigint primary key,
  event_id bigint not null,
  notification_id bigint not null,
  company_id text not null default '',
  campaign_id bigint,
  channel text not null,
  user_id text not null,
  vars jsonb, -- inputs of this recipient alone, frozen at planning
  lane smallint not null,
  priority smallint not null,
  state smallint not null default 0,
  attempt smallint not null default 0, -- finished attempts
  crashes smallint not null default 0, -- attempts whose outcome nobody could know
  run_at timestamptz not null,
  expires_at timestamptz,
  finished_at timestamptz,
  template_id bigint, -- the version that the last attempt was rendered from
  provider_id text,
  reason text
) partition by range (id);
create index delivery_event on delivery (event_id);

-- Due and future work. A row leaves when it is claimed.
create table ready (
  lane smallint not null,
  priority smallint not null,
  run_at timestamptz not null,
  id bigint not null,
  primary key (lane, priority, run_at, id)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- One row per claimed batch. Its id is the fence: a worker whose lease is gone can record nothing.
create table lease (
  id bigint primary key,
  worker uuid not null,
  lane smallint not null,
  until timestamptz not null,
  ids bigint[] not null
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index lease_until on lease (until);

-- Written before any network I/O: what a dead worker may have sent.
create table intent (
  id bigint primary key,
  lease_id bigint not null,
  ids bigint[] not null,
  started_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index intent_lease on intent (lease_id);

-- Attempts that did not end in SENT.
create table attempt_log (
  delivery_id bigint not null,
  n smallint not null,
  at timestamptz not null default now(),
  verdict text not null,
  message text not null,
  primary key (delivery_id, n)
) partition by range (delivery_id);

-- Deliveries that wait for a person: used up, refused, or uncertain and held.
create table dead (
  delivery_id bigint primary key,
  at timestamptz not null default now(),
  kind text not null check (kind in ('failed', 'uncertain')),
  reason text not null
);

-- Mail kept for the built-in outbox page when no SMTP server is set.
create table outbox_mail (
  id bigint generated always as identity primary key,
  company_id text not null default '',
  message_id text not null unique,
  mail_from text not null,
  mail_to text not null,
  subject text not null,
  text_part text not null,
  html_part text,
  at timestamptz not null default now()
);

-- Partitions --------------------------------------------------------------------------------------------------------

create function row_id_at(at timestamptz) returns bigint language sql immutable as
  $$ select (extract(epoch from at at time zone 'UTC' - timestamp '2025-01-01') * 1000)::bigint << 20 $$;

-- Creates the weekly partitions from the week of `since` on; safe to repeat and to run in several processes.
create function create_partitions(since timestamptz, weeks integer) returns void language plpgsql as $$
declare
  parent text;
  monday timestamptz;
begin
  perform pg_advisory_xact_lock(hashtext('eventcenter:partitions'));
  for i in 0..weeks - 1 loop
    monday := (date_trunc('week', since at time zone 'UTC') + make_interval(weeks => i)) at time zone 'UTC';
    foreach parent in array array['event', 'delivery', 'attempt_log'] loop
      execute format('create table if not exists %I partition of %I for values from (%s) to (%s) %s',
        parent || to_char(monday at time zone 'UTC', '_YYYYMMDD'), parent,
        row_id_at(monday), row_id_at(monday + interval '7 days'),
        case parent when 'delivery' then 'with (fillfactor = 70)' else '' end);
    end loop;
  end loop;
end $$;

-- A process whose clock is wrong must not lose events: rows of unforeseen weeks land here.
create table event_other partition of event default;
create table delivery_other partition of delivery default;
create table attempt_log_other partition of attempt_log default;

select create_partitions(now() - interval '7 days', 6);
