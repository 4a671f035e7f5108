-- What was last imported from the catalogue's files: a file that has not changed since is not imported again, so that it
-- cannot undo what was edited over the API.
create table catalog_file (
  name text primary key, -- what it defines, wherever the file lies
  hash text not null, -- SHA-256 of what it said
  imported_at timestamptz not null default now()
);
