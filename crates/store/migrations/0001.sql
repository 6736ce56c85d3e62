-- Version 1. Every row carries its tenant. Ids are 32 hex digits, times are microseconds since 1970
-- (UTC), enum values are words that never change, whatever the program calls them.
-- There is deliberately no unique key but the primary ones: the exchange judges what is taken before
-- it asks for a change to be written, and a row that can never be written would hold up all others.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE tenant (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    realm TEXT NOT NULL,
    domains TEXT NOT NULL
);

CREATE TABLE extension (
    id TEXT NOT NULL PRIMARY KEY,
    tenant BIGINT NOT NULL,
    number TEXT NOT NULL,
    name TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    secret BLOB NOT NULL,
    secret_since BIGINT NOT NULL,
    previous BLOB,
    previous_since BIGINT,
    previous_until BIGINT,
    exceptions TEXT NOT NULL,
    created BIGINT NOT NULL
);

CREATE TABLE device (
    id TEXT NOT NULL PRIMARY KEY,
    tenant BIGINT NOT NULL,
    extension TEXT NOT NULL,
    instance TEXT NOT NULL,
    agent TEXT NOT NULL,
    mac TEXT,
    firmware TEXT,
    algorithm TEXT,
    exceptions TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL
);

CREATE TABLE binding (
    device TEXT NOT NULL PRIMARY KEY,
    tenant BIGINT NOT NULL,
    extension TEXT NOT NULL,
    node BIGINT NOT NULL,
    contact TEXT NOT NULL,
    transport TEXT NOT NULL,
    remote TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    call_id TEXT NOT NULL,
    cseq BIGINT NOT NULL,
    registered BIGINT NOT NULL,
    expires BIGINT NOT NULL
);

-- A call that is up. `version` is the body's own: a newer one is kept and ended by hand.
CREATE TABLE snapshot (
    call TEXT NOT NULL PRIMARY KEY,
    tenant BIGINT NOT NULL,
    node BIGINT NOT NULL,
    version BIGINT NOT NULL,
    started BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE cdr (
    call TEXT NOT NULL PRIMARY KEY,
    tenant BIGINT NOT NULL,
    node BIGINT NOT NULL,
    caller TEXT NOT NULL,
    callee TEXT NOT NULL,
    extension TEXT,
    started BIGINT NOT NULL,
    answered BIGINT,
    ended BIGINT NOT NULL,
    disposition TEXT NOT NULL,
    emergency BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX cdr_by_start ON cdr (started);
CREATE INDEX cdr_by_caller ON cdr (caller, started);
CREATE INDEX cdr_by_callee ON cdr (callee, started);
CREATE INDEX cdr_by_extension ON cdr (extension, started);
CREATE INDEX cdr_by_disposition ON cdr (disposition, started);

-- Which extensions had a part in a call, whichever leg it was: so that the list of an extension's
-- calls holds the ones it received too.
CREATE TABLE cdr_party (
    call TEXT NOT NULL,
    extension TEXT NOT NULL,
    tenant BIGINT NOT NULL,
    started BIGINT NOT NULL,
    PRIMARY KEY (call, extension)
);
CREATE INDEX cdr_party_by_extension ON cdr_party (extension, started);
CREATE INDEX cdr_party_by_start ON cdr_party (started);

-- The ladder of a call, sealed line by line. The tenant is the call's (table cdr).
CREATE TABLE trace (
    id BIGINT NOT NULL PRIMARY KEY,
    tenant BIGINT NOT NULL,
    call TEXT NOT NULL,
    leg TEXT NOT NULL,
    utc BIGINT NOT NULL,
    sent BIGINT NOT NULL,
    sealed BLOB NOT NULL
);
CREATE INDEX trace_by_call ON trace (call, id);
CREATE INDEX trace_by_age ON trace (utc);

-- The chain of facts, one for each node (guard::journal). `personal` is JSON: sealed parts.
CREATE TABLE journal (
    node BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    utc BIGINT NOT NULL,
    tenant BIGINT,
    number BIGINT NOT NULL,
    public TEXT NOT NULL,
    personal TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (node, sequence)
);
CREATE INDEX journal_by_time ON journal (utc);

-- What opens the personal parts of a subject, itself sealed. Deleting a subject's rows erases it.
CREATE TABLE subject_key (
    id TEXT NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    tenant BIGINT,
    created BIGINT NOT NULL,
    sealed BLOB NOT NULL
);
CREATE INDEX subject_key_by_subject ON subject_key (subject);
