-- The whole schema, for a fresh database and for reading. A test keeps it equal to what
-- `sotto-server migrate` builds from server/migrations; change it together with them.

CREATE TABLE schema_version (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO schema_version (version) VALUES (1), (2), (3), (4), (5), (6), (7), (8);

-- Ids of devices, conversations and messages are 16 random bytes chosen by their owners.
-- Times are the database's. What may be lost with a crash of Postgres is UNLOGGED.

CREATE TABLE deployment (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    id bytea NOT NULL CHECK (octet_length(id) = 16)
);

CREATE TABLE account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username text COLLATE "C" NOT NULL,
    -- What the name looks like: two accounts of one skeleton cannot both exist.
    skeleton text COLLATE "C" NOT NULL,
    -- bcrypt of the authentication key that the client derives from the password.
    authentication_hash text NOT NULL,
    identity_key bytea NOT NULL CHECK (octet_length(identity_key) = 32),
    disabled boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- What the account shows to others, and what it published in clear.
    shows_directory boolean NOT NULL DEFAULT true,
    shows_online boolean NOT NULL DEFAULT true,
    shows_last_seen boolean NOT NULL DEFAULT true,
    display_name text NOT NULL DEFAULT '',
    status_text text NOT NULL DEFAULT '',
    CONSTRAINT account_username UNIQUE (username),
    CONSTRAINT account_skeleton UNIQUE (skeleton)
);

CREATE TABLE device (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    account_id bigint NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    certificate bytea NOT NULL,
    device_key bytea NOT NULL CHECK (octet_length(device_key) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- A date, not a time: enough to find abandoned devices.
    last_seen date NOT NULL DEFAULT current_date
);

CREATE INDEX device_account ON device (account_id);

-- Devices that another device of their account ended: they do not come back by the password.
CREATE TABLE revoked_device (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    account_id bigint NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    revoked_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE key_package (
    reference bytea PRIMARY KEY,
    device_id bytea NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    ciphersuite integer NOT NULL,
    data bytea NOT NULL,
    last_resort boolean NOT NULL,
    not_after timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE key_package ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE INDEX key_package_one_time ON key_package (device_id, ciphersuite, created_at)
    WHERE NOT last_resort;

CREATE UNIQUE INDEX key_package_last_resort ON key_package (device_id, ciphersuite)
    WHERE last_resort;

CREATE INDEX key_package_not_after ON key_package (not_after);

-- One row a log: a conversation (kind 1) or the mailbox of a device (kind 2, the device's id).
-- Nothing that changes with each append is indexed, so that those updates stay within the page.
CREATE TABLE conversation (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    kind smallint NOT NULL CHECK (kind IN (1, 2)),
    generation integer NOT NULL,
    epoch bigint NOT NULL,
    -- The highest seq of the log; seqs are dense from 1.
    head bigint NOT NULL,
    -- The accounts of a two-person conversation, the smaller first.
    pair_low bigint REFERENCES account (id),
    pair_high bigint REFERENCES account (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Whether everybody may come in by external commit. Never changes.
    public boolean NOT NULL DEFAULT false,
    CHECK ((pair_low IS NULL) = (pair_high IS NULL)),
    CHECK (pair_low <= pair_high)
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX conversation_pair ON conversation (pair_low, pair_high)
    WHERE pair_low IS NOT NULL;

-- The public MLS state, apart from the row that each append rewrites.
CREATE TABLE group_state (
    conversation_id bytea PRIMARY KEY REFERENCES conversation (id) ON DELETE CASCADE,
    group_state bytea NOT NULL,
    group_info bytea NOT NULL,
    -- The commit that led to it.
    seq bigint NOT NULL,
    -- The policy apart from the state: roles are looked up without reading a tree. Empty where it
    -- was stored before this column was.
    policy bytea NOT NULL DEFAULT ''
);

ALTER TABLE group_state ALTER COLUMN group_state SET STORAGE EXTERNAL;
ALTER TABLE group_state ALTER COLUMN group_info SET STORAGE EXTERNAL;

CREATE TABLE member (
    conversation_id bytea NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    -- No reference: a device that logged out has a leaf until a commit removes it.
    device_id bytea NOT NULL,
    account_id bigint NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- Every entry up to here is in the device's own store.
    cursor bigint NOT NULL,
    joined_at_seq bigint NOT NULL,
    -- The commit that removed the device; it may read up to it.
    left_at_seq bigint,
    -- The device no longer exists, though its leaf is still in the group.
    gone boolean NOT NULL DEFAULT false,
    PRIMARY KEY (conversation_id, device_id)
) WITH (fillfactor = 70);

CREATE INDEX member_device ON member (device_id, conversation_id);

-- Finds the conversations that an account's ended devices are still in, when it gets another identity.
CREATE INDEX member_gone ON member (account_id) WHERE gone;

CREATE INDEX member_left ON member (conversation_id) WHERE left_at_seq IS NOT NULL;

-- The logs. No reference to conversation: its row is locked by whoever inserts, and checking it
-- again for each entry would write to it.
CREATE TABLE envelope (
    conversation_id bytea NOT NULL,
    seq bigint NOT NULL,
    generation integer NOT NULL,
    epoch bigint NOT NULL,
    -- As EnvelopeKind in the protocol.
    kind smallint NOT NULL,
    sender_device bytea NOT NULL,
    client_id bytea NOT NULL,
    payload bytea NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (conversation_id, seq),
    CONSTRAINT envelope_once UNIQUE (conversation_id, sender_device, client_id)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0.1,
    autovacuum_vacuum_cost_delay = 0
);

-- Sealed bytes do not compress.
ALTER TABLE envelope ALTER COLUMN payload SET STORAGE EXTERNAL;

CREATE INDEX envelope_stored_at ON envelope USING brin (stored_at) WITH (pages_per_range = 32);

CREATE UNLOGGED TABLE node (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    name text NOT NULL,
    address text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE UNLOGGED TABLE session (
    device_id bytea NOT NULL,
    node_id bytea NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device_id, node_id)
);

CREATE INDEX session_node ON session (node_id);

-- Keys are SHA-256 values: who was limited cannot be read from here.
CREATE UNLOGGED TABLE rate_limit (
    key bytea PRIMARY KEY,
    used integer NOT NULL,
    resets_at timestamptz NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX rate_limit_resets_at ON rate_limit USING brin (resets_at);

CREATE TABLE invite (
    -- SHA-256 of the code.
    code_hash bytea PRIMARY KEY,
    uses_left integer NOT NULL CHECK (uses_left >= 0),
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Appends sealed messages to many logs in one trip and, called outside a transaction, in one
-- transaction of its own. Arrays run in parallel; a (sender, client id) occurs once per log.
-- First locks the logs' rows, in the order of their ids so that no two writers wait for each
-- other; then, in a statement of its own and therefore on a snapshot taken after the locks, judges
-- and stores. One row for each message:
--   verdict 0 stored now, 1 stored before, 2 no member, 3 another generation, 4 another epoch;
--   seq and stored_at_ms of the entry (null where there is none);
--   epoch after the entry, or the log's where there is none; generation of the log.
CREATE FUNCTION append_messages(
    logs bytea[], generations integer[], epochs bigint[], senders bytea[], client_ids bytea[],
    payloads bytea[], application_kind smallint, commit_kind smallint
) RETURNS TABLE (
    place bigint, verdict integer, seq bigint, epoch bigint, generation integer, stored_at_ms bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM conversation WHERE id = ANY (logs) AND kind = 1 ORDER BY id FOR NO KEY UPDATE;
    RETURN QUERY
    WITH known AS MATERIALIZED (
        SELECT i.place, i.log, i.sender, i.client_id, i.payload,
               c.head, c.epoch, c.generation,
               e.seq AS known_seq, e.epoch + (e.kind = commit_kind)::integer AS known_epoch,
               e.stored_at AS known_at,
               CASE WHEN e.seq IS NOT NULL THEN 1
                    WHEN c.id IS NULL OR m.device_id IS NULL THEN 2
                    WHEN c.generation <> i.generation THEN 3
                    WHEN c.epoch <> i.epoch THEN 4
                    ELSE 0 END AS verdict
        FROM unnest(logs, generations, epochs, senders, client_ids, payloads) WITH ORDINALITY
             AS i (log, generation, epoch, sender, client_id, payload, place)
        LEFT JOIN conversation c ON c.id = i.log AND c.kind = 1
        LEFT JOIN member m ON m.conversation_id = i.log AND m.device_id = i.sender
             AND m.left_at_seq IS NULL AND NOT m.gone
        LEFT JOIN envelope e ON e.conversation_id = i.log AND e.sender_device = i.sender
             AND e.client_id = i.client_id
    ), judged AS MATERIALIZED (
        SELECT k.*, CASE WHEN k.verdict = 0 THEN
                   k.head + row_number() OVER (PARTITION BY k.log, k.verdict ORDER BY k.place)
               ELSE k.known_seq END AS seq
        FROM known k
    ), grown AS (
        UPDATE conversation c SET head = j.head
        FROM (SELECT log, max(seq) AS head FROM judged WHERE verdict = 0 GROUP BY log) j
        WHERE c.id = j.log
    ), stored AS (
        INSERT INTO envelope (conversation_id, seq, generation, epoch, kind, sender_device,
                              client_id, payload, stored_at)
        SELECT log, seq, generation, epoch, application_kind, sender, client_id, payload, now()
        FROM judged WHERE verdict = 0
    )
    SELECT j.place, j.verdict, j.seq, coalesce(j.known_epoch, j.epoch), j.generation,
           (extract(epoch FROM CASE WHEN j.verdict = 0 THEN now() ELSE j.known_at END)
               * 1000)::bigint
    FROM judged j;
END
$$;

-- Appends messages that are probably all new, by members, of the present epoch: the same as
-- append_messages at about half the cost, or error SO001 (and so nothing) if one of them is not.
-- Arrays of logs run in parallel, as do those of messages: a message is the nth of its batch in
-- the log at a place among the logs. Logs must be in the order of their ids: their rows are locked
-- in it. Who is a member is looked up in a statement of its own, on a snapshot taken after the
-- locks. Returned are the heads before the batch.
CREATE FUNCTION append_fresh(
    logs bytea[], generations integer[], epochs bigint[], counts integer[],
    places integer[], nths integer[], senders bytea[], client_ids bytea[], payloads bytea[],
    application_kind smallint, OUT heads bigint[], OUT stored_at_ms bigint
) LANGUAGE plpgsql AS $$
DECLARE
    stored bigint;
BEGIN
    WITH grown AS (
        UPDATE conversation c SET head = c.head + i.count
        FROM unnest(logs, generations, epochs, counts) WITH ORDINALITY
             AS i (log, generation, epoch, count, place)
        WHERE c.id = i.log AND c.kind = 1 AND c.generation = i.generation AND c.epoch = i.epoch
        RETURNING i.place, c.head - i.count AS head
    )
    SELECT array_agg(g.head ORDER BY g.place) INTO heads FROM grown g;
    IF cardinality(heads) IS DISTINCT FROM cardinality(logs) THEN
        RAISE SQLSTATE 'SO001';
    END IF;
    INSERT INTO envelope (conversation_id, seq, generation, epoch, kind, sender_device, client_id,
                          payload, stored_at)
    SELECT logs[i.place], heads[i.place] + i.nth, generations[i.place], epochs[i.place],
           application_kind, i.sender, i.client_id, i.payload, now()
    FROM unnest(places, nths, senders, client_ids, payloads)
         AS i (place, nth, sender, client_id, payload)
    JOIN member m ON m.conversation_id = logs[i.place] AND m.device_id = i.sender
         AND m.left_at_seq IS NULL AND NOT m.gone;
    GET DIAGNOSTICS stored = ROW_COUNT;
    IF stored <> cardinality(client_ids) THEN
        RAISE SQLSTATE 'SO001';
    END IF;
    stored_at_ms := (extract(epoch FROM now()) * 1000)::bigint;
END
$$;

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
    -- SHA-256 of that request: with another secret it is heard at once.
    request_digest bytea,
    PRIMARY KEY (conversation_id, link_id, account_id),
    FOREIGN KEY (conversation_id, link_id) REFERENCES join_link ON DELETE CASCADE
);

CREATE INDEX join_use_account ON join_use (account_id);

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

-- What operators do: on accounts, on invites, on the deployment, and the log of it.

-- A banned account is disabled until the ban is lifted; its name stays taken.
ALTER TABLE account ADD COLUMN banned boolean NOT NULL DEFAULT false;
-- From then on the password counts no more: an operator set it. Null for one that its owner chose.
ALTER TABLE account ADD COLUMN password_until timestamptz;
-- Bytes of files that the account may keep here; null for the deployment's own bound.
ALTER TABLE account ADD COLUMN quota_bytes bigint CHECK (quota_bytes >= 0);
ALTER TABLE account ADD CONSTRAINT account_ban CHECK (disabled OR NOT banned);

-- For whom an invite is, in the operator's own words.
ALTER TABLE invite ADD COLUMN label text NOT NULL DEFAULT '';

-- Over the servers' own configuration, for all of them; null leaves it to that.
ALTER TABLE deployment ADD COLUMN retention_days integer CHECK (retention_days BETWEEN 1 AND 3650);

-- What every running server is to do. Servers look for new ones each second; old ones are swept.
CREATE TABLE operator_order (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- 1 end the sessions of a device, 2 drain a server, 3 let it serve again.
    kind smallint NOT NULL CHECK (kind IN (1, 2, 3)),
    -- The device, or the server's id in the table of nodes.
    subject bytea NOT NULL CHECK (octet_length(subject) = 16),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Operators' actions, without passwords, codes or anything that people said. Never changed.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    -- The account of the machine, and the database's role.
    operator text NOT NULL,
    role text NOT NULL DEFAULT session_user,
    action text NOT NULL,
    -- Whose account, which invite or which server; empty where there is none.
    subject text NOT NULL,
    details jsonb NOT NULL
);

CREATE INDEX audit_subject ON audit (subject, id);

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is only ever added to';
END
$$;

CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

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
