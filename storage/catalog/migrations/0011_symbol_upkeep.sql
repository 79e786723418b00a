-- +goose Up
ALTER TABLE symbol_uploads ADD COLUMN token_id INTEGER NOT NULL DEFAULT 0; -- 0: no token, or not known
ALTER TABLE symbol_uploads ADD COLUMN protocol TEXT NOT NULL DEFAULT '';   -- v1, v2, debug, breakpad, sym-upload-v2; '' is not known
ALTER TABLE symbol_files ADD COLUMN quality TEXT NOT NULL DEFAULT '[]';    -- JSON list of what is wrong with it
ALTER TABLE symbol_files ADD COLUMN live INTEGER NOT NULL DEFAULT 0;       -- 1: the newest complete file of its key
UPDATE symbol_files SET live = 1 WHERE completed <> '' AND id = (SELECT MAX(n.id) FROM symbol_files n WHERE n.key = symbol_files.key AND n.try = symbol_files.try AND n.completed <> '');
CREATE INDEX symbol_files_live ON symbol_files (upload_id, size) WHERE live = 1;
CREATE INDEX symbol_files_debug_id ON symbol_files (debug_id);

ALTER TABLE tokens ADD COLUMN upload_version INTEGER NOT NULL DEFAULT 0; -- 0: what the configuration says
ALTER TABLE tokens ADD COLUMN quota INTEGER NOT NULL DEFAULT 0;          -- bytes of symbols; 0: no limit of its own

-- Uploads that are kept whatever their age, and the keys that this protects:
-- those of their files, and those that were there already.
CREATE TABLE symbol_pins (
    upload_id INTEGER PRIMARY KEY REFERENCES symbol_uploads (id) ON DELETE CASCADE,
    who       TEXT NOT NULL,
    note      TEXT NOT NULL,
    created   TEXT NOT NULL
);
CREATE TABLE symbol_pinned_keys (
    upload_id INTEGER NOT NULL REFERENCES symbol_pins (upload_id) ON DELETE CASCADE,
    key       TEXT NOT NULL,
    try       INTEGER NOT NULL,
    PRIMARY KEY (upload_id, key, try)
);
CREATE INDEX symbol_pinned_keys_key ON symbol_pinned_keys (key, try);

-- Uploads that were answered before they were done.
CREATE TABLE symbol_jobs (
    upload_id INTEGER PRIMARY KEY REFERENCES symbol_uploads (id) ON DELETE CASCADE,
    source    TEXT NOT NULL,    -- name of the file in the spool, or the address to fetch it from
    attempts  INTEGER NOT NULL, -- how often it was begun
    created   TEXT NOT NULL
);

-- Modules whose symbols nobody can get: patterns of debug or code files.
CREATE TABLE missing_ignores (
    pattern TEXT PRIMARY KEY,
    note    TEXT NOT NULL,
    who     TEXT NOT NULL,
    created TEXT NOT NULL
);

-- +goose Down
DROP TABLE missing_ignores;
DROP TABLE symbol_jobs;
DROP TABLE symbol_pinned_keys;
DROP TABLE symbol_pins;
DROP INDEX symbol_files_live;
DROP INDEX symbol_files_debug_id;
ALTER TABLE tokens DROP COLUMN quota;
ALTER TABLE tokens DROP COLUMN upload_version;
ALTER TABLE symbol_files DROP COLUMN live;
ALTER TABLE symbol_files DROP COLUMN quality;
ALTER TABLE symbol_uploads DROP COLUMN protocol;
ALTER TABLE symbol_uploads DROP COLUMN token_id;
