-- What a probe measures, so that one that has not come back yet counts as known when the next ones are planned.
ALTER TABLE probes ADD COLUMN request TEXT NOT NULL DEFAULT '{}';
CREATE INDEX wishes_by_user ON wishes (uid, last_at);
