-- Files that are being sent: key and place, until their message is queued.
CREATE TABLE upload (
    talk TEXT NOT NULL,
    -- SHA-256 of what is sent, cleaned already.
    plain_hash BLOB NOT NULL,
    blob_id BLOB NOT NULL,
    key BLOB NOT NULL,
    client_id BLOB NOT NULL,
    begun_at_ms INTEGER NOT NULL,
    PRIMARY KEY (talk, plain_hash)
) STRICT, WITHOUT ROWID;
