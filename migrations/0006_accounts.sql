-- What the accounts at providers may be given, for all processes together.

create table account_bucket (
  account text primary key, -- the channel's name and, where it may have several accounts, a short hash: no secret, no address
  channel text not null,
  at timestamptz not null default clock_timestamp(), -- of the last grant
  next_at timestamptz not null default clock_timestamp(), -- when the next message of the even flow may go
  reserve_used timestamptz[] not null default '{}', -- when each part of the reserve was last used
  even_granted integer not null default 0, -- by the last grant: its slots end at next_at
  reserve_granted integer not null default 0, -- by the last grant, at once
  stopped_at timestamptz,
  stopped_until timestamptz -- the provider said that it takes nothing before
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
