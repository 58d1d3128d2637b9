-- Groups that people manage: who may enter, rooms, invite links, ratchet trees beside welcomes;
-- what people show of themselves; further devices and backups.

-- Whether everybody may come in by external commit. Never changes.
ALTER TABLE conversation ADD COLUMN public boolean NOT NULL DEFAULT false;

-- The policy apart from the public state: roles are looked up without reading a tree. Empty where
-- it was stored before this column was.
ALTER TABLE group_state ADD COLUMN policy bytea NOT NULL DEFAULT '';

-- Ratchet trees of epochs whose welcomes do not hold them.
CREATE TABLE group_tree (
    conversation_id bytea NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    generation integer NOT NULL,
    epoch bigint NOT NULL,
    tree bytea NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (conversation_id, generation, epoch)
);

CREATE INDEX group_tree_stored_at ON group_tree (stored_at);

-- Public groups that are listed, in clear by their admins' choice.
CREATE TABLE room (
    conversation_id bytea PRIMARY KEY REFERENCES conversation (id) ON DELETE CASCADE,
    title text COLLATE "C" NOT NULL,
    -- The title without case: for order and search.
    folded text COLLATE "C" NOT NULL,
    -- What the title looks like: two rooms of one skeleton cannot both be listed.
    skeleton text COLLATE "C" NOT NULL,
    topic text NOT NULL,
    CONSTRAINT room_folded UNIQUE (folded),
    CONSTRAINT room_skeleton UNIQUE (skeleton)
);

-- Invite links. Their secrets stay among the members.
CREATE TABLE join_link (
    conversation_id bytea NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    link_id bytea NOT NULL CHECK (octet_length(link_id) = 16),
    expires_at timestamptz NOT NULL,
    uses_left integer NOT NULL CHECK (uses_left >= 0),
    PRIMARY KEY (conversation_id, link_id)
);

CREATE INDEX join_link_expires_at ON join_link (expires_at);

-- Who used a link: once each.
CREATE TABLE join_use (
    conversation_id bytea NOT NULL,
    link_id bytea NOT NULL,
    account_id bigint NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- When the request last entered the log.
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (conversation_id, link_id, account_id),
    FOREIGN KEY (conversation_id, link_id) REFERENCES join_link ON DELETE CASCADE
);

CREATE INDEX join_use_account ON join_use (account_id);

-- What an account shows to others, and what it published in clear.
ALTER TABLE account
    ADD COLUMN shows_directory boolean NOT NULL DEFAULT true,
    ADD COLUMN shows_online boolean NOT NULL DEFAULT true,
    ADD COLUMN shows_last_seen boolean NOT NULL DEFAULT true,
    ADD COLUMN display_name text NOT NULL DEFAULT '',
    ADD COLUMN status_text text NOT NULL DEFAULT '';

-- When an account was last there, to the minute.
CREATE UNLOGGED TABLE last_seen (
    account_id bigint PRIMARY KEY,
    at timestamptz NOT NULL
) WITH (fillfactor = 70);

-- Sealed backups, one an account.
CREATE TABLE backup (
    account_id bigint PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    number bigint NOT NULL,
    data bytea NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE backup ALTER COLUMN data SET STORAGE EXTERNAL;

-- Sealed words between a new device and an old one; minutes old at most.
CREATE UNLOGGED TABLE link_relay (
    rendezvous_id bytea PRIMARY KEY CHECK (octet_length(rendezvous_id) = 16),
    offer bytea NOT NULL,
    answer bytea,
    stored_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX link_relay_stored_at ON link_relay (stored_at);
