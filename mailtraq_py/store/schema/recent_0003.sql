-- What all processes must agree on of clients that fail: counts, and who is banned.

-- kind: 'login' or 'recipient'. ends: from then on the count is worth nothing.
CREATE TABLE failures (
    kind TEXT NOT NULL,
    client TEXT NOT NULL,
    times INTEGER NOT NULL,
    ends REAL NOT NULL,
    PRIMARY KEY (kind, client)
) WITHOUT ROWID;
CREATE INDEX failures_by_end ON failures (ends);

CREATE TABLE bans (client TEXT NOT NULL PRIMARY KEY, ends REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX bans_by_end ON bans (ends);
