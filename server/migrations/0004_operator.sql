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
