-- The first schema of the second database: what may be lost in a power cut.

CREATE TABLE properties (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- logged_in: when the newest of the sessions behind this row logged in, to be held against revocations.
CREATE TABLE recent_logins (
    address TEXT NOT NULL,
    account_id INTEGER NOT NULL,
    protocol TEXT NOT NULL,
    tls INTEGER NOT NULL,
    first_login REAL NOT NULL,
    last_login REAL NOT NULL,
    logged_in REAL NOT NULL,
    PRIMARY KEY (address, account_id)
) WITHOUT ROWID;
CREATE INDEX recent_logins_by_time ON recent_logins (last_login);
CREATE INDEX recent_logins_by_account ON recent_logins (account_id);

-- address '' is any address, account_id 0 any account.
CREATE TABLE revocations (
    address TEXT NOT NULL,
    account_id INTEGER NOT NULL,
    not_before REAL NOT NULL,
    PRIMARY KEY (address, account_id)
) WITHOUT ROWID;
