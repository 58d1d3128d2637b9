-- Version 4: groups.

-- Who is in a group, as its last commit left it; also after this device is out.
CREATE TABLE group_member (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    role INTEGER NOT NULL,
    -- Whether anything of this person's devices was seen since they came in.
    seen INTEGER NOT NULL DEFAULT 0,
    -- Whether they said that they leave; an admin's client takes them out.
    leaving INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, name)
) STRICT, WITHOUT ROWID;

-- What is sealed about a group and not in its policy: an encoded group_info
-- body, as an admin sent it last.
CREATE TABLE group_detail (
    conversation BLOB PRIMARY KEY REFERENCES conversation (id) ON DELETE CASCADE,
    body BLOB NOT NULL
) STRICT;

-- Welcomes to groups that wait for consent.
CREATE TABLE invitation (
    conversation BLOB PRIMARY KEY CHECK (length(conversation) = 16),
    inviter TEXT NOT NULL,
    generation INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    identity BLOB NOT NULL CHECK (length(identity) = 32),
    members INTEGER NOT NULL,
    access INTEGER NOT NULL,
    welcome BLOB NOT NULL,
    received_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX invitation_by_inviter ON invitation (inviter, received_at_ms);
