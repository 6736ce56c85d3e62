-- Version 5: lines of one call's ladder that are written together stand in one row; registrations over UDP outlive a restart;
-- fewer places to write for each call.

-- How many lines `sealed` holds, each with its leg, time and direction, compressed (LZ4). 0: a single line as it was written before, and `leg`
-- and `sent` are its own.
ALTER TABLE trace ADD COLUMN lines BIGINT NOT NULL DEFAULT 0;

-- The realm whose socket the device registered through. Registrations over UDP come back with a restart: those that are
-- written without it do not, since until now a row did not tell a phone that had signed off.
ALTER TABLE binding ADD COLUMN realm BIGINT NOT NULL DEFAULT 0;
UPDATE binding SET expires = registered WHERE transport = 'udp';

-- Records are listed by time and by who had a part in them; nothing ever
-- looked for a caller, a callee or an outcome by itself.
DROP INDEX cdr_by_caller;
DROP INDEX cdr_by_callee;
DROP INDEX cdr_by_extension;
DROP INDEX cdr_by_disposition;

-- The table in the order in which it is asked, without a second tree for that.
ALTER TABLE cdr_party RENAME TO cdr_party_before;
CREATE TABLE cdr_party (
    extension TEXT NOT NULL,
    started BIGINT NOT NULL,
    call TEXT NOT NULL,
    tenant BIGINT NOT NULL,
    PRIMARY KEY (extension, started, call)
);
INSERT INTO cdr_party (extension, started, call, tenant) SELECT extension, started, call, tenant FROM cdr_party_before;
DROP TABLE cdr_party_before;
CREATE INDEX cdr_party_by_start ON cdr_party (started);

-- The body of a call that is up, compressed (LZ4): several to a page. `body` is empty then.
ALTER TABLE snapshot ADD COLUMN packed BLOB;
