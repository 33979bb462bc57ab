-- What PostgreSQL has besides, from the first step on.

-- Octets are compressed already where that pays, and are read in ranges.
ALTER TABLE content_octets ALTER COLUMN octets SET STORAGE EXTERNAL;

-- Large contents, 256 KiB a row, on all hosts; place 2.
CREATE TABLE content_chunks (
    content_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    octets BYTEA NOT NULL,
    PRIMARY KEY (content_id, number)
);
ALTER TABLE content_chunks ALTER COLUMN octets SET STORAGE EXTERNAL;

-- Numbers that rise with time, from no counter that all would wait for.
ALTER TABLE acceptances ALTER COLUMN number
    SET DEFAULT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) * 1024
        + CAST(floor(random() * 1024) AS BIGINT);
ALTER TABLE notices ALTER COLUMN id
    SET DEFAULT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) * 1024
        + CAST(floor(random() * 1024) AS BIGINT);

-- The transaction a notice came with: by it a reader knows which he may not have seen yet.
ALTER TABLE notices ADD COLUMN transaction BIGINT NOT NULL DEFAULT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT);
CREATE INDEX notices_by_transaction ON notices (transaction);
