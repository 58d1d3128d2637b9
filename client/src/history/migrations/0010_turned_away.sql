-- How a request stands: 0 waits for an answer, 1 was turned away (its welcome is kept, for whoever
-- writes again asks again), 2 waits again.
ALTER TABLE request ADD COLUMN standing INTEGER NOT NULL DEFAULT 0;
