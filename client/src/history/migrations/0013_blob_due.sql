-- Version 13: files of messages that were taken back, still to be deleted at the server.
CREATE TABLE blob_due (
    blob BLOB PRIMARY KEY CHECK (length(blob) = 16)
) STRICT, WITHOUT ROWID;
