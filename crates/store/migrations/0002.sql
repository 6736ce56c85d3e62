-- Version 2: carriers, numbers at them, policy, rates, and what was spent. Amounts are millionths of
-- the currency that stands beside them.

ALTER TABLE extension ADD COLUMN caller_id TEXT;

ALTER TABLE cdr ADD COLUMN origin TEXT NOT NULL DEFAULT 'phone';

-- A carrier's line. The secret is sealed under the trunk's id; the rest that nobody searches by is JSON.
CREATE TABLE trunk (
    id BIGINT NOT NULL PRIMARY KEY,
    tenant BIGINT,
    name TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    secret BLOB,
    secret_since BIGINT,
    created BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE inbound (
    number TEXT NOT NULL PRIMARY KEY,
    tenant BIGINT NOT NULL,
    trunk BIGINT NOT NULL,
    extension TEXT NOT NULL
);

-- Every version that was ever in force: a decision names the one it was made by.
CREATE TABLE policy (
    version BIGINT NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL,
    body TEXT NOT NULL
);

-- The newest is in force. `body` is CSV as it can be exported.
CREATE TABLE rate_deck (
    version BIGINT NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL,
    currency TEXT NOT NULL,
    body TEXT NOT NULL
);

-- What an account has settled in one window; `begins` is in seconds.
CREATE TABLE spend (
    account TEXT NOT NULL,
    span TEXT NOT NULL,
    begins BIGINT NOT NULL,
    settled BIGINT NOT NULL,
    PRIMARY KEY (account, span, begins)
);

-- The legs of a call that could cost money, for sums: one call may have tried two carriers. The
-- record's own body holds the same in full.
CREATE TABLE cdr_toll (
    call TEXT NOT NULL,
    position BIGINT NOT NULL,
    tenant BIGINT NOT NULL,
    extension TEXT,
    trunk BIGINT NOT NULL,
    class TEXT NOT NULL,
    country TEXT,
    currency TEXT NOT NULL,
    started BIGINT NOT NULL,
    answered BIGINT,
    seconds BIGINT NOT NULL,
    cost BIGINT NOT NULL,
    PRIMARY KEY (call, position)
);
CREATE INDEX cdr_toll_by_start ON cdr_toll (started);
CREATE INDEX cdr_toll_by_extension ON cdr_toll (extension, started);
