-- Version 11: what was written and never goes out stays, with the reason; null while it still waits.
ALTER TABLE outbox ADD COLUMN refused_code TEXT;
ALTER TABLE outbox ADD COLUMN refused TEXT;
