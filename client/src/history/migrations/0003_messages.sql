-- Version 3: what belongs to messages beyond their first text.
CREATE TABLE message_3 (
    -- Names the message in the search index; never given twice.
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    client_id BLOB NOT NULL,
    sender TEXT NOT NULL,
    device BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    sent_at_ms INTEGER NOT NULL,
    stored_at_ms INTEGER NOT NULL,
    -- The encoded body, as it was edited last; empty once the message is gone.
    content BLOB NOT NULL,
    -- Only where version 1 or 2 wrote it, until it moves into `content`.
    text TEXT,
    shown INTEGER NOT NULL,
    -- 0 there, 1 taken back, 2 disappeared.
    fate INTEGER NOT NULL DEFAULT 0,
    -- The seq of the edit that counts; 0 for none.
    edited_seq INTEGER NOT NULL DEFAULT 0,
    mentions_me INTEGER NOT NULL DEFAULT 0,
    reply_device BLOB,
    reply_id BLOB,
    expires_after_s INTEGER NOT NULL DEFAULT 0,
    -- Set when it was read; milliseconds since 1970 UTC.
    expires_at_ms INTEGER,
    indexed INTEGER NOT NULL DEFAULT 0,
    UNIQUE (conversation, seq),
    UNIQUE (conversation, device, client_id)
) STRICT;
INSERT INTO message_3 (conversation, seq, client_id, sender, device, epoch, direction, sent_at_ms,
        stored_at_ms, content, text, shown)
    SELECT conversation, seq, client_id, sender, device, epoch, direction, sent_at_ms,
        stored_at_ms, content, text, shown FROM message ORDER BY stored_at_ms, conversation, seq;
DROP TABLE message;
ALTER TABLE message_3 RENAME TO message;
CREATE INDEX message_unshown ON message (conversation, seq) WHERE shown = 0;
CREATE INDEX message_expiry ON message (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
CREATE INDEX message_replies ON message (conversation, reply_id) WHERE reply_id IS NOT NULL;
CREATE INDEX message_not_indexed ON message (place) WHERE indexed = 0;
CREATE INDEX message_by_id ON message (client_id);

-- Words of messages, by `place`. What is taken out leaves no trace in the index.
CREATE VIRTUAL TABLE search USING fts5 (
    words, tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co So'"
);
INSERT INTO search (search, rank) VALUES ('secure-delete', 1);
CREATE TRIGGER search_follows AFTER DELETE ON message BEGIN
    DELETE FROM search WHERE rowid = old.place;
END;

-- Edits, deletions and the like that wait for their target, or that no
-- interface showed yet.
CREATE TABLE change (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    client_id BLOB NOT NULL,
    sender TEXT NOT NULL,
    device BLOB NOT NULL,
    direction INTEGER NOT NULL,
    sent_at_ms INTEGER NOT NULL,
    stored_at_ms INTEGER NOT NULL,
    target_device BLOB,
    target_id BLOB,
    body BLOB NOT NULL,
    -- Whether the sender was an admin of the group when it was sent.
    by_admin INTEGER NOT NULL,
    waits INTEGER NOT NULL,
    shown INTEGER NOT NULL,
    PRIMARY KEY (conversation, seq)
) STRICT;
CREATE INDEX change_by_target ON change (conversation, target_id);

-- The latest word of each account about each emoji, by place in the log.
CREATE TABLE reaction (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    target_device BLOB NOT NULL,
    target_id BLOB NOT NULL,
    account TEXT NOT NULL,
    emoji TEXT NOT NULL,
    seq INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    PRIMARY KEY (conversation, target_id, target_device, account, emoji)
) STRICT, WITHOUT ROWID;

CREATE TABLE pin (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    target_device BLOB NOT NULL,
    target_id BLOB NOT NULL,
    account TEXT NOT NULL,
    seq INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    PRIMARY KEY (conversation, target_id, target_device)
) STRICT, WITHOUT ROWID;

-- How long messages of a conversation are kept after reading.
CREATE TABLE timer (
    conversation BLOB PRIMARY KEY REFERENCES conversation (id) ON DELETE CASCADE,
    expires_after_s INTEGER NOT NULL,
    account TEXT NOT NULL,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Up to where others told that messages reached them and were read.
CREATE TABLE reader (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    account TEXT NOT NULL,
    delivered INTEGER NOT NULL,
    read INTEGER NOT NULL,
    PRIMARY KEY (conversation, account)
) STRICT, WITHOUT ROWID;

-- What was begun and not sent, by talk.
CREATE TABLE draft (
    talk TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE mute (
    talk TEXT PRIMARY KEY,
    -- 0: not at all; the largest number: for ever.
    until_ms INTEGER NOT NULL,
    mentions_only INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE preference (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What is known of people beyond their identity: own notes, and what they told.
CREATE TABLE contact (
    name TEXT PRIMARY KEY REFERENCES peer (name),
    alias TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '',
    display_name TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT '',
    profile_seq INTEGER NOT NULL DEFAULT 0,
    -- The revision of the own profile that this person was told.
    told INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE own_profile (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    display_name TEXT NOT NULL,
    status TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
