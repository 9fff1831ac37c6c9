-- The site as Slurm was last seen: what the next model is published with.
CREATE TABLE slurm_view (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    view TEXT NOT NULL -- JSON
) STRICT;
