-- The first schema of the main database.
--
-- Keys come from `counters` or are random and time-ordered (contents); none is ever used again. Times are seconds
-- since the epoch. Booleans are 0 and 1. Texts that are compared are folded by the caller.

CREATE TABLE properties (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE counters (name TEXT NOT NULL PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID;

-- Who we host -------------------------------------------------------------------------------------------------

-- alias_of: 0, or the domain whose accounts this one has too.
CREATE TABLE domains (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    alias_of INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL
);

CREATE TABLE groups (
    id INTEGER PRIMARY KEY,
    domain_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (domain_id, name)
);

-- Limits and privileges by level: account, group, domain, server; the first level that names one decides.
CREATE TABLE limits (
    level TEXT NOT NULL,
    owner_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (level, owner_id, name)
) WITHOUT ROWID;

-- state: enabled, disabled. not_before: logins before it grant nothing any more.
-- cram_md5: the account opted in; the two states follow with the next password that is seen.
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    domain_id INTEGER NOT NULL,
    local_part TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'enabled',
    relay INTEGER NOT NULL DEFAULT 1,
    group_id INTEGER NOT NULL DEFAULT 0,
    credential_number INTEGER NOT NULL DEFAULT 1,
    not_before REAL NOT NULL DEFAULT 0,
    password_hash TEXT NOT NULL,
    cram_md5 INTEGER NOT NULL DEFAULT 0,
    cram_inner BLOB,
    cram_outer BLOB,
    quota_octets INTEGER,
    quota_messages INTEGER,
    created REAL NOT NULL,
    UNIQUE (domain_id, local_part)
);
CREATE INDEX accounts_with_cram_md5 ON accounts (id) WHERE cram_inner IS NOT NULL;

-- Apart from accounts, because every delivery writes it.
CREATE TABLE account_counters (
    account_id INTEGER PRIMARY KEY,
    next_mod_seq INTEGER NOT NULL,
    next_uid_validity INTEGER NOT NULL,
    octets INTEGER NOT NULL DEFAULT 0,
    messages INTEGER NOT NULL DEFAULT 0
);

-- local_part '*' takes what nobody else in the domain does.
CREATE TABLE aliases (
    domain_id INTEGER NOT NULL,
    local_part TEXT NOT NULL,
    position INTEGER NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (domain_id, local_part, position)
) WITHOUT ROWID;

-- Mailboxes -----------------------------------------------------------------------------------------------------

-- parent_id: 0 at the top. state: open; level (only a name above others); condemned (being purged: parent_id is
-- then its own id, negative). changed_mod_seq: the highest MODSEQ of a change other than a new message.
CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    parent_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open',
    special_use TEXT NOT NULL DEFAULT '',
    uid_validity INTEGER NOT NULL,
    uid_next INTEGER NOT NULL DEFAULT 1,
    highest_mod_seq INTEGER NOT NULL,
    changed_mod_seq INTEGER NOT NULL DEFAULT 0,
    messages INTEGER NOT NULL DEFAULT 0,
    unseen INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    octets INTEGER NOT NULL DEFAULT 0,
    first_recent INTEGER NOT NULL DEFAULT 1,
    created REAL NOT NULL,
    UNIQUE (account_id, parent_id, name)
);
CREATE INDEX mailboxes_condemned ON mailboxes (id) WHERE state = 'condemned';

CREATE TABLE subscriptions (
    account_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (account_id, name)
) WITHOUT ROWID;

-- Narrow, so that flags of a whole mailbox are read from few pages. octets: head and content. head: 0, or the
-- number of the head that goes before the content.
CREATE TABLE messages (
    mailbox_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    mod_seq INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    keywords TEXT NOT NULL,
    internal_date INTEGER NOT NULL,
    save_date INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    content_id INTEGER NOT NULL,
    head INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, uid)
) WITHOUT ROWID;

-- UIDs that are gone, for QRESYNC.
CREATE TABLE vanished (
    mailbox_id INTEGER NOT NULL,
    mod_seq INTEGER NOT NULL,
    low INTEGER NOT NULL,
    high INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, mod_seq, low)
) WITHOUT ROWID;

-- Content -------------------------------------------------------------------------------------------------------

-- refs: message rows and queue rows that point here; the content goes with the last. place: 0 inline, 1 file.
-- compression: 0 none, 1 zstd. key_id: 0 not encrypted. Texts for SEARCH are folded.
CREATE TABLE contents (
    id INTEGER PRIMARY KEY,
    refs INTEGER NOT NULL,
    place INTEGER NOT NULL,
    compression INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    lines INTEGER NOT NULL,
    header_octets INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    body BLOB NOT NULL,
    body_structure BLOB NOT NULL,
    parts BLOB NOT NULL,
    fields BLOB NOT NULL,
    sent INTEGER,
    sent_day INTEGER,
    subject TEXT NOT NULL,
    sender TEXT NOT NULL,
    to_text TEXT NOT NULL,
    cc_text TEXT NOT NULL,
    message_id TEXT NOT NULL,
    in_reply_to TEXT NOT NULL,
    reference_ids TEXT NOT NULL,
    thread_id INTEGER NOT NULL
);

-- Apart from contents, so that a message list does not read bodies.
CREATE TABLE content_octets (content_id INTEGER PRIMARY KEY, octets BLOB NOT NULL);

-- What is put before a shared content for one recipient; gone with the content.
CREATE TABLE heads (
    content_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    head BLOB NOT NULL,
    PRIMARY KEY (content_id, number)
) WITHOUT ROWID;

-- Acceptance and queue --------------------------------------------------------------------------------------------

-- delivered: "account mailbox uid uid_validity" of each local delivery, joined by ";".
CREATE TABLE acceptances (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    received REAL NOT NULL,
    delivered TEXT NOT NULL,
    trace TEXT NOT NULL
);

-- ready: the later of due and lease_until, that is when somebody may take the row.
CREATE TABLE queue (
    id INTEGER PRIMARY KEY,
    acceptance_id TEXT NOT NULL,
    content_id INTEGER NOT NULL,
    content_octets INTEGER NOT NULL,
    head INTEGER NOT NULL,
    domain TEXT NOT NULL,
    due REAL NOT NULL,
    ready REAL NOT NULL,
    lease_owner TEXT NOT NULL DEFAULT '',
    lease_until REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_reply TEXT NOT NULL DEFAULT '',
    delay_reported INTEGER NOT NULL DEFAULT 0,
    received REAL NOT NULL,
    expires REAL NOT NULL,
    reverse_path TEXT NOT NULL,
    forward_path TEXT NOT NULL,
    notify TEXT NOT NULL,
    original TEXT NOT NULL,
    origin TEXT NOT NULL,
    ret TEXT NOT NULL,
    envid TEXT NOT NULL,
    body TEXT NOT NULL,
    smtputf8 INTEGER NOT NULL,
    granted_by TEXT NOT NULL,
    client TEXT NOT NULL,
    account TEXT NOT NULL
);
CREATE INDEX queue_by_ready ON queue (ready);
CREATE INDEX queue_by_message ON queue (content_id, domain);

-- Between processes ---------------------------------------------------------------------------------------------

-- Changes for the hubs of other processes; kept for minutes.
CREATE TABLE notices (
    id INTEGER PRIMARY KEY,
    origin TEXT NOT NULL,
    written REAL NOT NULL,
    kind TEXT NOT NULL,
    subject INTEGER NOT NULL,
    value REAL NOT NULL
);
