-- Deleted mail stays recoverable for a while.

-- The mailbox of each account that holds its deleted messages until they are purged: state recoverable, parent_id its
-- own id, negative, so that no path leads there; no quota counts it, and nothing in it is recent. purged_until: of what
-- was deleted until then something is gone for good.
CREATE TABLE recoverable (
    account_id INTEGER PRIMARY KEY,
    mailbox_id INTEGER NOT NULL,
    purged_until REAL NOT NULL DEFAULT 0
);

-- A run of UIDs of a recoverable mailbox: messages that went from one mailbox at one time.
CREATE TABLE deletions (
    mailbox_id INTEGER NOT NULL,
    low INTEGER NOT NULL,
    high INTEGER NOT NULL,
    deleted REAL NOT NULL,
    origin_id INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, low)
) WITHOUT ROWID;
CREATE INDEX deletions_by_time ON deletions (deleted);

-- Mailboxes that were deleted, for as long as they may come back. name: all levels.
CREATE TABLE deleted_mailboxes (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    special_use TEXT NOT NULL,
    created REAL NOT NULL,
    deleted REAL NOT NULL
);
CREATE INDEX deleted_mailboxes_of_account ON deleted_mailboxes (account_id);

-- What was deleted before this step, about when the last message came, is gone.
INSERT INTO recoverable (account_id, mailbox_id, purged_until)
SELECT account_id, (SELECT next FROM counters WHERE name = 'mailbox') + row_number() OVER (ORDER BY account_id) - 1,
    coalesce((SELECT max(received) FROM acceptances), 0)
FROM account_counters;

INSERT INTO mailboxes (id, account_id, parent_id, name, state, uid_validity, highest_mod_seq, first_recent, created)
SELECT r.mailbox_id, r.account_id, -r.mailbox_id, '', 'recoverable', c.next_uid_validity, c.next_mod_seq, 4294967296,
    r.purged_until
FROM recoverable r JOIN account_counters c ON c.account_id = r.account_id;

UPDATE counters SET next = next + (SELECT count(*) FROM recoverable) WHERE name = 'mailbox';
UPDATE account_counters SET next_uid_validity = next_uid_validity + 1, next_mod_seq = next_mod_seq + 1;
