-- Version 3: sources that are shut out. `cause` is JSON; who did it stands in the journal.

CREATE TABLE ban (
    source TEXT NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    times BIGINT NOT NULL,
    cause TEXT NOT NULL
);
