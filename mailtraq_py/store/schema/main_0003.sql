-- References to contents are counted apart, so that COPY of many does not write the pages of their facts.

-- Message and queue rows that point at a content beyond the first, where there are such; it goes with the last.
CREATE TABLE content_shares (content_id INTEGER PRIMARY KEY, further INTEGER NOT NULL);

INSERT INTO content_shares (content_id, further) SELECT id, refs - 1 FROM contents WHERE refs > 1;

ALTER TABLE contents DROP COLUMN refs;
