-- Version 7: invite links, what a rebuilt group must keep, and large groups.

-- The policy of each group as its last commit left it, encoded.
CREATE TABLE group_policy (
    conversation BLOB PRIMARY KEY REFERENCES conversation (id) ON DELETE CASCADE,
    policy BLOB NOT NULL
) STRICT;

-- Groups in which newcomers still have to be told title and timer.
CREATE TABLE greeting_due (
    conversation BLOB PRIMARY KEY REFERENCES conversation (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Invite links of groups, as admins made them known to the members.
CREATE TABLE group_link (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    link BLOB NOT NULL CHECK (length(link) = 16),
    secret BLOB NOT NULL CHECK (length(secret) = 32),
    expires_at_ms INTEGER NOT NULL,
    approval INTEGER NOT NULL,
    revoked INTEGER NOT NULL,
    PRIMARY KEY (conversation, link)
) STRICT, WITHOUT ROWID;

-- People who proved that they hold a link and are not in yet.
CREATE TABLE join_request (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    identity BLOB NOT NULL CHECK (length(identity) = 32),
    -- Whether an admin here has to agree first.
    waits INTEGER NOT NULL,
    received_at_ms INTEGER NOT NULL,
    PRIMARY KEY (conversation, name)
) STRICT, WITHOUT ROWID;

-- Groups that this account asked to be let into by a link: their welcomes are
-- followed without asking again.
CREATE TABLE joining (
    conversation BLOB PRIMARY KEY CHECK (length(conversation) = 16),
    asked_at_ms INTEGER NOT NULL
) STRICT;

-- Ratchet trees beside the welcomes of large groups; empty where it is inside.
ALTER TABLE invitation ADD COLUMN tree BLOB NOT NULL DEFAULT x'';

-- Welcomes whose trees are still to be asked for.
CREATE TABLE treeless_welcome (
    conversation BLOB NOT NULL CHECK (length(conversation) = 16),
    generation INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    inviter TEXT NOT NULL,
    welcome BLOB NOT NULL,
    received_at_ms INTEGER NOT NULL,
    PRIMARY KEY (conversation, generation, epoch)
) STRICT;
