-- What policy decided, session by session, for `mailtraq policy diff`. Personal data: kept for as long, and as much of
-- it, as the configuration says.

-- logins: rows of recent_logins of the session's address at that time, as JSON. record: facts and verdicts, as JSON.
CREATE TABLE decisions (
    decided REAL NOT NULL,
    session TEXT NOT NULL,
    service TEXT NOT NULL,
    client TEXT NOT NULL,
    logins TEXT NOT NULL,
    record TEXT NOT NULL,
    octets INTEGER NOT NULL,
    PRIMARY KEY (decided, session)
) WITHOUT ROWID;

-- One row: the sum of octets, so that nobody has to add them up.
CREATE TABLE decisions_size (name TEXT NOT NULL PRIMARY KEY, octets INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO decisions_size (name, octets) VALUES ('decisions', 0);
