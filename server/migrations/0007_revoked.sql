-- Devices that another device of their account ended: they do not come back by the password.
CREATE TABLE revoked_device (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    account_id bigint NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    revoked_at timestamptz NOT NULL DEFAULT now()
);
