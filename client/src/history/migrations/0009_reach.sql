-- Up to where others told that messages reached them and were read, by device: what one device
-- cannot open another may have read. What was told before is nobody's device.
ALTER TABLE reader RENAME TO reader_of_before;

CREATE TABLE reader (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    account TEXT NOT NULL,
    device BLOB NOT NULL,
    delivered INTEGER NOT NULL,
    read INTEGER NOT NULL,
    PRIMARY KEY (conversation, account, device)
) STRICT, WITHOUT ROWID;

INSERT INTO reader (conversation, account, device, delivered, read)
    SELECT conversation, account, x'', delivered, read FROM reader_of_before;

DROP TABLE reader_of_before;

-- What lies below a device's mark and never reached it; both places inclusive.
CREATE TABLE reader_hole (
    conversation BLOB NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    account TEXT NOT NULL,
    device BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (conversation, account, device, first)
) STRICT, WITHOUT ROWID;

-- From where on this device can open a conversation's messages, where that is not the beginning.
CREATE TABLE readable_from (
    conversation BLOB PRIMARY KEY REFERENCES conversation (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
