-- Schema 1. Events come first; every other table is a projection that can be rebuilt from them.
CREATE TABLE event (
  sequence       INTEGER PRIMARY KEY,
  at             INTEGER NOT NULL,           -- milliseconds since the epoch
  owner          TEXT    NOT NULL,
  negotiation_id TEXT,
  job_id         TEXT,
  worker_id      TEXT,
  body           TEXT    NOT NULL            -- protocol::event::Event as JSON
) STRICT;
CREATE INDEX event_negotiation ON event (negotiation_id, sequence) WHERE negotiation_id IS NOT NULL;

CREATE TABLE worker (
  worker_id TEXT PRIMARY KEY,
  present   INTEGER NOT NULL,                -- 0 after it left in order
  body      TEXT NOT NULL                    -- the last WorkerJoined event
) STRICT;

CREATE TABLE negotiation (
  negotiation_id TEXT PRIMARY KEY,
  owner          TEXT NOT NULL,
  created_at     INTEGER NOT NULL,
  stage          TEXT NOT NULL,
  prompt         TEXT
) STRICT;
CREATE INDEX negotiation_created ON negotiation (created_at DESC);

CREATE TABLE job (
  job_id     TEXT PRIMARY KEY,
  owner      TEXT NOT NULL,
  state      TEXT NOT NULL,
  worker_id  TEXT,
  created_at INTEGER NOT NULL,
  body       TEXT NOT NULL                   -- protocol::job::Job as JSON
) STRICT;
CREATE INDEX job_created ON job (created_at DESC, job_id);
CREATE INDEX job_state ON job (state, created_at DESC);

CREATE TABLE report (
  job_id   TEXT NOT NULL,
  attempt  INTEGER NOT NULL,
  sequence INTEGER NOT NULL,                 -- the last report taken
  PRIMARY KEY (job_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE artifact (
  artifact_id TEXT PRIMARY KEY,
  owner       TEXT NOT NULL,
  job_id      TEXT,
  digest      TEXT NOT NULL,
  body        TEXT NOT NULL
) STRICT;
CREATE INDEX artifact_job ON artifact (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX artifact_digest ON artifact (digest);

CREATE TABLE trust (
  worker_id   TEXT PRIMARY KEY,
  body        TEXT NOT NULL
) STRICT;

CREATE TABLE chosen (
  worker_id TEXT PRIMARY KEY,
  at        INTEGER NOT NULL                 -- when it last won, for breaking ties
) STRICT;

CREATE TABLE idempotency (
  owner   TEXT NOT NULL,
  key     TEXT NOT NULL,
  digest  TEXT NOT NULL,
  job_id  TEXT NOT NULL,
  PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;

-- Who called what; not part of the hub's state.
CREATE TABLE invocation (
  at           INTEGER NOT NULL,
  principal    TEXT NOT NULL,
  operation    TEXT NOT NULL,
  digest       TEXT NOT NULL,                -- of the arguments, never the arguments themselves
  outcome      TEXT NOT NULL,                -- OK or an error code
  microseconds INTEGER NOT NULL
) STRICT;
