-- Version 12: identities that were pinned to a name until another one was accepted.
CREATE TABLE earlier_identity (
    name TEXT NOT NULL REFERENCES peer (name),
    identity BLOB NOT NULL CHECK (length(identity) = 32),
    PRIMARY KEY (name, identity)
) STRICT, WITHOUT ROWID;
