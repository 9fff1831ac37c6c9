-- The partition of a job that names none, as it was observed; NULL where there is none.
ALTER TABLE observations ADD COLUMN default_partition TEXT;
