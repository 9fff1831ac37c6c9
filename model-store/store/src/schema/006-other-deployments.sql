-- Runs whose requests share a prefix that the engine keeps, or are turns of conversations: no plain serving either.
ALTER TABLE runs ADD COLUMN prefix_cached INTEGER NOT NULL DEFAULT 0 CHECK (prefix_cached IN (0, 1));
ALTER TABLE runs ADD COLUMN multi_turn INTEGER NOT NULL DEFAULT 0 CHECK (multi_turn IN (0, 1));
