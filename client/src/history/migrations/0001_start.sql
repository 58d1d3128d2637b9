-- Version 1 of the client's own tables. The MLS key store's tables lie in the
-- same file and are made by sotto-crypto.
CREATE TABLE account (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    username TEXT NOT NULL,
    deployment BLOB NOT NULL CHECK (length(deployment) = 16),
    device BLOB NOT NULL CHECK (length(device) = 16),
    identity_secret BLOB NOT NULL,
    device_secret BLOB NOT NULL,
    certificate BLOB NOT NULL,
    state INTEGER NOT NULL,
    mailbox_cursor INTEGER NOT NULL DEFAULT 0,
    last_resort_at_ms INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Everybody whose identity was ever seen; what is pinned stays pinned.
CREATE TABLE peer (
    name TEXT PRIMARY KEY,
    identity BLOB CHECK (length(identity) = 32),
    changed_identity BLOB CHECK (length(changed_identity) = 32),
    verified_at_ms INTEGER,
    relation INTEGER NOT NULL
) STRICT;

CREATE TABLE conversation (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    peer TEXT NOT NULL UNIQUE REFERENCES peer (name),
    generation INTEGER NOT NULL,
    state INTEGER NOT NULL,
    keep INTEGER NOT NULL,
    baseline INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    last_commit BLOB NOT NULL,
    own_counter INTEGER NOT NULL,
    own_since_update INTEGER NOT NULL,
    update_due_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT;

-- The last counter seen of each device that writes in a conversation.
CREATE TABLE sender_counter (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    device BLOB NOT NULL,
    counter INTEGER NOT NULL,
    PRIMARY KEY (conversation, device)
) STRICT, WITHOUT ROWID;

-- What waits to be stored by the server, in the order of writing. The sealed
-- form is kept, so that a repetition sends the very same bytes.
CREATE TABLE outbox (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id BLOB NOT NULL UNIQUE CHECK (length(client_id) = 16),
    peer TEXT NOT NULL REFERENCES peer (name),
    kind INTEGER NOT NULL,
    body BLOB NOT NULL,
    created_at_ms INTEGER NOT NULL,
    counter INTEGER,
    generation INTEGER,
    epoch INTEGER,
    sealed BLOB
) STRICT;
CREATE INDEX outbox_by_peer ON outbox (peer, place);

-- Own entries that the server stored and the log has not shown yet; an own
-- entry in the log that is neither here nor in the outbox was made by a copy.
CREATE TABLE own_sent (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    client_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (conversation, client_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE message (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    client_id BLOB NOT NULL,
    sender TEXT NOT NULL,
    device BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    sent_at_ms INTEGER NOT NULL,
    stored_at_ms INTEGER NOT NULL,
    -- The whole content as it came, so that a newer version can show kinds unknown to this one.
    content BLOB NOT NULL,
    text TEXT,
    shown INTEGER NOT NULL,
    PRIMARY KEY (conversation, seq),
    UNIQUE (conversation, device, client_id)
) STRICT;
CREATE INDEX message_unshown ON message (conversation, seq) WHERE shown = 0;

CREATE TABLE gap (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    device BLOB,
    first INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    seen_at_ms INTEGER NOT NULL
) STRICT;

-- Welcomes that wait for consent: one for each inviter.
CREATE TABLE request (
    inviter TEXT PRIMARY KEY,
    conversation BLOB NOT NULL CHECK (length(conversation) = 16),
    generation INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    identity BLOB NOT NULL CHECK (length(identity) = 32),
    welcome BLOB NOT NULL,
    received_at_ms INTEGER NOT NULL
) STRICT;

-- Entries of a requested conversation, sealed as they came, until the person
-- decides; the first ones only, so that a stranger cannot fill the disk.
CREATE TABLE request_entry (
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    PRIMARY KEY (conversation, seq)
) STRICT;

-- A commit on its way to the server, as the encoded request that carries it.
CREATE TABLE pending_commit (
    conversation BLOB PRIMARY KEY REFERENCES conversation (id) ON DELETE CASCADE,
    client_id BLOB NOT NULL,
    kind INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    commit_hash BLOB NOT NULL,
    request BLOB NOT NULL
) STRICT;

-- Key packages made here, and when their private parts are to be forgotten.
CREATE TABLE made_key_package (
    reference BLOB PRIMARY KEY,
    purpose INTEGER NOT NULL,
    forget_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
