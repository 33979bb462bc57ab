-- Distribution lists, and black and white lists of accounts.

-- owner: who administers it; reports of its mail go there, by way of NAME-owner. posting: anyone, members, insiders.
CREATE TABLE lists (
    id INTEGER PRIMARY KEY,
    domain_id INTEGER NOT NULL,
    local_part TEXT NOT NULL,
    owner TEXT NOT NULL,
    posting TEXT NOT NULL DEFAULT 'anyone',
    created REAL NOT NULL,
    UNIQUE (domain_id, local_part)
);

-- address: as it is written to; key: folded.
CREATE TABLE list_members (
    list_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    address TEXT NOT NULL,
    PRIMARY KEY (list_id, key)
) WITHOUT ROWID;

-- lists_number: 0 without lists; else another one after each change, out of `counters`.
ALTER TABLE accounts ADD COLUMN lists_number INTEGER NOT NULL DEFAULT 0;

CREATE TABLE account_lists (
    account_id INTEGER PRIMARY KEY,
    black_everyone INTEGER NOT NULL,
    white_local_domains INTEGER NOT NULL,
    black_folder TEXT NOT NULL
);

-- colour: black, white.
CREATE TABLE account_list_entries (
    account_id INTEGER NOT NULL,
    colour TEXT NOT NULL,
    position INTEGER NOT NULL,
    pattern TEXT NOT NULL,
    PRIMARY KEY (account_id, colour, position)
) WITHOUT ROWID;
