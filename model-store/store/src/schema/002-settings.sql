-- Settings of the engine that change what a configuration delivers; 0 or NULL where not recorded.
ALTER TABLE runs ADD COLUMN moe_tp INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN moe_ep INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN sched_steps INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN chunked INTEGER CHECK (chunked IN (0, 1));
