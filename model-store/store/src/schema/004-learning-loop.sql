-- Which job measured a run: whose it is, and when it ended.
ALTER TABLE runs ADD COLUMN job INTEGER REFERENCES jobs (id);
CREATE INDEX runs_by_job ON runs (job) WHERE job IS NOT NULL;
UPDATE runs SET job = (
  SELECT j.id FROM sources s JOIN jobs j ON j.cluster = substr(s.name, 9)
    AND j.job_id = CAST(substr(runs.source_ref, 5) AS INTEGER)
  WHERE s.id = runs.source AND s.name LIKE 'cluster:%' ORDER BY j.start DESC LIMIT 1
) WHERE origin = 'this-cluster' AND source_ref LIKE 'job %';

-- When a job could have started, where, and under which name.
ALTER TABLE jobs ADD COLUMN eligible INTEGER;
ALTER TABLE jobs ADD COLUMN partition TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN name TEXT NOT NULL DEFAULT '';

-- Which file was imported, whatever its name, and what wrote it.
ALTER TABLE imports ADD COLUMN hash BLOB CHECK (length(hash) = 32);
ALTER TABLE imports ADD COLUMN tool TEXT NOT NULL DEFAULT '';
CREATE INDEX imports_by_hash ON imports (hash) WHERE hash IS NOT NULL;

-- What the gate said, and what the next challenger is held against.
ALTER TABLE models ADD COLUMN state TEXT NOT NULL DEFAULT 'published'
  CHECK (state IN ('recorded', 'published', 'refused'));
ALTER TABLE models ADD COLUMN gate BLOB;

-- How long jobs with GPUs waited.
CREATE TABLE waits (
  cluster   TEXT NOT NULL,
  job_id    INTEGER NOT NULL,
  eligible  INTEGER NOT NULL,
  wait_s    INTEGER NOT NULL CHECK (wait_s >= 0),
  gres      TEXT NOT NULL,
  gpus      INTEGER NOT NULL CHECK (gpus >= 1),
  backlog   INTEGER,
  PRIMARY KEY (cluster, job_id, eligible)
) STRICT, WITHOUT ROWID;
CREATE INDEX waits_by_time ON waits (eligible);

-- Jobs that serve a model without a tag.
CREATE TABLE demand (
  cluster   TEXT NOT NULL,
  job_id    INTEGER NOT NULL,
  submit    INTEGER NOT NULL,
  ended     INTEGER NOT NULL,
  uid       INTEGER,
  engine    TEXT NOT NULL,
  model     TEXT NOT NULL,
  gres      TEXT NOT NULL,
  gpus      INTEGER NOT NULL,
  elapsed_s INTEGER NOT NULL,
  state     TEXT NOT NULL,
  PRIMARY KEY (cluster, job_id, submit)
) STRICT, WITHOUT ROWID;

-- Requests that had no answer, one row for each user who made one.
CREATE TABLE wishes (
  key      TEXT NOT NULL,
  uid      INTEGER NOT NULL,
  request  TEXT NOT NULL,
  why      TEXT NOT NULL,
  asked    INTEGER NOT NULL CHECK (asked >= 1),
  first_at INTEGER NOT NULL,
  last_at  INTEGER NOT NULL,
  PRIMARY KEY (key, uid)
) STRICT, WITHOUT ROWID;

-- Probes that were submitted for wishes.
CREATE TABLE probes (
  id           INTEGER PRIMARY KEY,
  key          TEXT NOT NULL,
  gres         TEXT NOT NULL,
  tp           INTEGER NOT NULL CHECK (tp >= 1),
  precision    TEXT NOT NULL,
  gpu_hours    REAL NOT NULL,
  job          TEXT NOT NULL,
  submitted_at INTEGER NOT NULL
) STRICT;
CREATE INDEX probes_by_key ON probes (key);
