-- The site as Slurm was last seen: what the next model is published with.
CREATE TABLE slurm_view (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    view TEXT NOT NULL -- JSON
) STRICT;
-- Jobs under an advice that waited for a limit, were cancelled while they waited, or were submitted again without a tag.
CREATE TABLE unstarted (
    job_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (job_id, kind)
) STRICT, WITHOUT ROWID;
