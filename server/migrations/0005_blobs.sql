-- Sealed files in pieces, in the database or in an object store.

CREATE TABLE blob (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    -- Who sent it. An account that is deleted leaves its blobs to their readers until they expire.
    account_id bigint REFERENCES account (id) ON DELETE SET NULL,
    size bigint NOT NULL CHECK (size > 0),
    stored bigint NOT NULL DEFAULT 0 CHECK (stored <= size),
    complete boolean NOT NULL DEFAULT false,
    -- In the object store: its name for an upload in parts, and for each part that it has.
    in_objects boolean NOT NULL,
    upload_id text,
    parts text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX blob_account ON blob (account_id);

CREATE INDEX blob_expires_at ON blob (expires_at);

-- All of a blob in the database; of one in the object store, what has not gone there yet.
CREATE TABLE blob_piece (
    blob_id bytea NOT NULL REFERENCES blob (id) ON DELETE CASCADE,
    -- Pieces have 262,144 bytes, the last one what is left.
    piece integer NOT NULL,
    data bytea NOT NULL CHECK (octet_length(data) <= 262144),
    PRIMARY KEY (blob_id, piece)
);

-- Sealed bytes do not compress.
ALTER TABLE blob_piece ALTER COLUMN data SET STORAGE EXTERNAL;
