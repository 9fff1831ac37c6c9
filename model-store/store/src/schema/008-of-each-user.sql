-- Nothing of a refused file is kept that others could read: not how it begins, and no reason that quotes it. docs/store.md says what is left.
UPDATE quarantine SET head = x'', reason = CASE
  WHEN reason LIKE 'no outcome file: %' THEN 'no outcome file'
  WHEN reason LIKE 'no wish: %' THEN 'no wish'
  ELSE reason END;

-- Whose wait it was, so that no user has more than a share of them; NULL in rows of before.
ALTER TABLE waits ADD COLUMN uid INTEGER;

-- Stretches of accounting that could not be read and were passed over.
CREATE TABLE accounting_gaps (
  id       INTEGER PRIMARY KEY,
  since    INTEGER NOT NULL,
  until    INTEGER NOT NULL,
  reason   TEXT NOT NULL,
  noted_at INTEGER NOT NULL
) STRICT;
