-- Version 4: where alerts go, and how far each reader of the journal has come.

-- `secret` holds all that may not be known: a password, a webhook's address. `body` is JSON.
CREATE TABLE sink (
    id BIGINT NOT NULL PRIMARY KEY,
    created BIGINT NOT NULL,
    secret BLOB NOT NULL,
    body TEXT NOT NULL
);

-- What stands before and at `sequence` in the node's own chain is done with.
CREATE TABLE watermark (
    reader TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL
);

-- Incidents are looked for among everything that ever happened.
CREATE INDEX journal_by_number ON journal (node, number, sequence);
