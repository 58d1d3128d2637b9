-- What an account asked with last by a link: with the right secret it is heard at once, even where a
-- mistyped one was heard shortly before. 32 bytes, SHA-256 of the request; null for those of before.
ALTER TABLE join_use ADD COLUMN request_digest bytea;
