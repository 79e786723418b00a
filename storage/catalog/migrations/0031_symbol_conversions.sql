-- +goose Up
-- Builds whose raw debug files symbol files are made of, or were.
CREATE TABLE symbol_conversions (
    code_id   TEXT NOT NULL,    -- in capitals
    try       INTEGER NOT NULL,
    upload_id INTEGER NOT NULL, -- the last one that brought a file of the build
    state     TEXT NOT NULL,    -- waiting, done, failed
    version   INTEGER NOT NULL, -- counts the files that came
    attempts  INTEGER NOT NULL, -- how often it was begun since the last one
    reason    TEXT NOT NULL,    -- why it failed, or what is to be said besides
    made      TEXT NOT NULL,    -- JSON: key of a symbol file to its content hash
    changed   TEXT NOT NULL,
    PRIMARY KEY (code_id, try)
);
CREATE INDEX symbol_conversions_waiting ON symbol_conversions (changed) WHERE state = 'waiting';

-- +goose Down
DROP TABLE symbol_conversions;
