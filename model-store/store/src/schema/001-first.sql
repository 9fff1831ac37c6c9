-- The first schema. docs/store.md says what every table, column and unit means.
PRAGMA application_id = 0x4f4d4e50; -- "OMNP"

CREATE TABLE sources (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE imports (
  id          INTEGER PRIMARY KEY,
  file        TEXT NOT NULL,
  format      TEXT NOT NULL,
  origin      TEXT NOT NULL,
  imported_at INTEGER NOT NULL,
  added       INTEGER NOT NULL CHECK (added >= 0),
  known       INTEGER NOT NULL CHECK (known >= 0),
  skipped     INTEGER NOT NULL CHECK (skipped >= 0)
) STRICT;

CREATE TABLE runs (
  id               INTEGER PRIMARY KEY,
  hash             BLOB NOT NULL UNIQUE CHECK (length(hash) = 16),
  figure           BLOB CHECK (length(figure) = 16),
  added_at         INTEGER NOT NULL,
  -- where it was measured
  run_id           TEXT NOT NULL,
  origin           TEXT NOT NULL CHECK (origin IN ('this-cluster', 'other-cluster', 'published')),
  source           INTEGER NOT NULL REFERENCES sources (id),
  source_ref       TEXT NOT NULL,
  -- what was run
  model            TEXT NOT NULL,
  params_b         REAL,
  active_params_b  REAL,
  gpu              TEXT NOT NULL,
  gpu_mem_gb       REAL,
  tp               INTEGER CHECK (tp >= 1),
  pp               INTEGER NOT NULL CHECK (pp >= 1),
  dp               INTEGER NOT NULL CHECK (dp >= 1),
  precision        TEXT,
  kv_precision     TEXT,
  isl              REAL,
  osl              REAL,
  workload         TEXT NOT NULL,
  concurrency      REAL,
  request_rate     REAL,
  engine           TEXT NOT NULL,
  engine_version   TEXT NOT NULL,
  disaggregated    INTEGER NOT NULL CHECK (disaggregated IN (0, 1)),
  speculative      INTEGER NOT NULL CHECK (speculative IN (0, 1)),
  power_capped     INTEGER NOT NULL CHECK (power_capped IN (0, 1)),
  -- what came out
  outcome          TEXT NOT NULL,
  output_tok_s     REAL,
  total_tok_s      REAL,
  req_s            REAL,
  ttft_ms          REAL,
  ttft_p50_ms      REAL,
  ttft_p99_ms      REAL,
  tpot_ms          REAL,
  tpot_p99_ms      REAL,
  e2e_ms           REAL,
  e2e_p99_ms       REAL,
  kv_usage         REAL,
  power_w          REAL,
  peak_mem_gb      REAL,
  energy_j_per_tok REAL,
  cold_start_s     REAL,
  notes            TEXT NOT NULL
) STRICT;
CREATE INDEX runs_by_figure ON runs (figure) WHERE figure IS NOT NULL;

CREATE TABLE observations (
  id          INTEGER PRIMARY KEY,
  observed_at INTEGER
) STRICT;

CREATE TABLE pools (
  observation INTEGER NOT NULL REFERENCES observations (id) ON DELETE CASCADE,
  gres        TEXT NOT NULL,
  nodes       INTEGER NOT NULL,
  per_node    INTEGER NOT NULL,
  total       INTEGER NOT NULL,
  free        INTEGER NOT NULL,
  pending     INTEGER NOT NULL,
  partitions  TEXT NOT NULL,
  PRIMARY KEY (observation, gres)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
  id        INTEGER PRIMARY KEY,
  cluster   TEXT NOT NULL,
  job_id    INTEGER NOT NULL,
  submit    INTEGER NOT NULL,
  state     TEXT NOT NULL,
  exit_code TEXT NOT NULL,
  elapsed_s INTEGER NOT NULL,
  start     INTEGER NOT NULL,
  ended     INTEGER,
  user      TEXT NOT NULL,
  uid       INTEGER,
  nodes     TEXT NOT NULL,
  advice_id TEXT,
  comment   TEXT NOT NULL,
  UNIQUE (cluster, job_id, submit, start)
) STRICT;

CREATE TABLE job_gpus (
  job   INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  gres  TEXT NOT NULL,
  count INTEGER NOT NULL CHECK (count >= 1),
  PRIMARY KEY (job, gres)
) STRICT, WITHOUT ROWID;

CREATE TABLE outcome_files (
  hash        BLOB PRIMARY KEY CHECK (length(hash) = 32),
  job         INTEGER NOT NULL REFERENCES jobs (id),
  started_at  INTEGER NOT NULL,
  advice_id   TEXT,
  file        TEXT NOT NULL,
  runs        INTEGER NOT NULL CHECK (runs >= 0),
  ingested_at INTEGER NOT NULL,
  UNIQUE (job, started_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
  id             INTEGER PRIMARY KEY,
  hash           BLOB NOT NULL CHECK (length(hash) = 32),
  file           TEXT NOT NULL,
  uid            INTEGER,
  bytes          INTEGER NOT NULL,
  reason         TEXT NOT NULL,
  head           BLOB NOT NULL CHECK (length(head) <= 4096),
  quarantined_at INTEGER NOT NULL,
  UNIQUE (file, hash)
) STRICT;

CREATE TABLE watermarks (
  name TEXT PRIMARY KEY,
  at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE models (
  id         TEXT PRIMARY KEY,
  created_at INTEGER NOT NULL,
  runs       INTEGER NOT NULL CHECK (runs >= 0),
  path       TEXT NOT NULL,
  bytes      INTEGER NOT NULL,
  metrics    TEXT NOT NULL,
  snapshot   BLOB
) STRICT;
