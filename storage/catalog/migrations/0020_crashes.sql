-- +goose Up
-- Modules whose symbols came lately: crashes without them are looked for.
CREATE TABLE awaited_modules (
    debug_file TEXT NOT NULL,
    debug_id   TEXT NOT NULL,
    arrived    TEXT NOT NULL,
    looks      INTEGER NOT NULL, -- how often crashes were looked for
    due        TEXT NOT NULL,    -- when they are looked for next
    PRIMARY KEY (debug_file, debug_id)
);

-- Crashes that were given up. The truth is in the crash bucket.
CREATE TABLE verdicts (
    crash_id TEXT PRIMARY KEY,
    reason   TEXT NOT NULL,
    tries    INTEGER NOT NULL,
    time     TEXT NOT NULL,
    queue    TEXT NOT NULL
);

-- Crashes that the sweep found without a processed crash.
CREATE TABLE missing_processed (
    crash_id     TEXT PRIMARY KEY,
    is_processed INTEGER NOT NULL,
    created      TEXT NOT NULL
);
CREATE INDEX missing_processed_created ON missing_processed (created);

-- +goose Down
DROP TABLE missing_processed;
DROP TABLE verdicts;
DROP TABLE awaited_modules;
