-- SORT and THREAD have narrow rows of their own; store/conversions.py fills them and drops the columns they replace.

-- subject: the base subject (RFC 5256 2.1); is_reply: whether anything was taken off it. Keys are hashes of msg-ids:
-- the message's own, that of the one it answers, 0 for none; of the References before that, 8 octets each.
CREATE TABLE sort_keys (
    content_id INTEGER PRIMARY KEY,
    sent INTEGER,
    subject TEXT NOT NULL,
    is_reply INTEGER NOT NULL,
    message_key INTEGER NOT NULL,
    parent_key INTEGER NOT NULL,
    ancestor_keys BLOB NOT NULL
);
