-- Version 6: several devices of the account.

-- The account's devices that are known here, with the names given to them.
CREATE TABLE own_device (
    device BLOB PRIMARY KEY CHECK (length(device) = 16),
    name TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Revoked devices that are still to be taken out of conversations.
CREATE TABLE removal_due (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    device BLOB NOT NULL CHECK (length(device) = 16),
    PRIMARY KEY (conversation, device)
) STRICT, WITHOUT ROWID;

-- Where this device keeps the account's backup: what seals it, the counter of
-- the last one, and what was in it.
CREATE TABLE recovery (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key BLOB NOT NULL CHECK (length(key) = 32),
    number INTEGER NOT NULL,
    digest BLOB NOT NULL,
    stored_at_ms INTEGER NOT NULL,
    -- Whether a backup left whose answer did not come.
    unanswered INTEGER NOT NULL
) STRICT;
