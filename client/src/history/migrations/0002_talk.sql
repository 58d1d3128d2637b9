-- Version 2: a conversation is with a person or is a group. `talk` is the
-- person's name, or '#' and the id in 32 hex digits.
CREATE TABLE conversation_2 (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    talk TEXT NOT NULL UNIQUE,
    -- Of a group, as an admin wrote it last; absent while it is not known.
    title TEXT,
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
INSERT INTO conversation_2 (id, talk, generation, state, keep, baseline, cursor, last_commit,
        own_counter, own_since_update, update_due_ms, updated_at_ms)
    SELECT id, peer, generation, state, keep, baseline, cursor, last_commit,
        own_counter, own_since_update, update_due_ms, updated_at_ms FROM conversation;
DROP TABLE conversation;
ALTER TABLE conversation_2 RENAME TO conversation;

CREATE TABLE outbox_2 (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id BLOB NOT NULL UNIQUE CHECK (length(client_id) = 16),
    talk TEXT NOT NULL,
    kind INTEGER NOT NULL,
    body BLOB NOT NULL,
    created_at_ms INTEGER NOT NULL,
    counter INTEGER,
    generation INTEGER,
    epoch INTEGER,
    sealed BLOB
) STRICT;
INSERT INTO outbox_2 (place, client_id, talk, kind, body, created_at_ms, counter, generation,
        epoch, sealed)
    SELECT place, client_id, peer, kind, body, created_at_ms, counter, generation,
        epoch, sealed FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_2 RENAME TO outbox;
CREATE INDEX outbox_by_talk ON outbox (talk, place);
