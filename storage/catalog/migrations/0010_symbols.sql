-- +goose Up
CREATE TABLE symbol_uploads (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id       INTEGER NOT NULL,
    email         TEXT NOT NULL,
    filename      TEXT NOT NULL,
    size          INTEGER NOT NULL,
    try           INTEGER NOT NULL,
    download_url  TEXT NOT NULL, -- '' when the client sent the bytes
    redirect_urls TEXT NOT NULL, -- this and the next two: JSON lists of text
    skipped_keys  TEXT NOT NULL,
    ignored_keys  TEXT NOT NULL,
    error         TEXT NOT NULL, -- why it was refused after it was accepted; '' otherwise
    created       TEXT NOT NULL,
    completed     TEXT NOT NULL  -- '' while it is worked on
);
CREATE INDEX symbol_uploads_user ON symbol_uploads (user_id, created);
CREATE INDEX symbol_uploads_created ON symbol_uploads (created);

CREATE TABLE symbol_files (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    upload_id     INTEGER NOT NULL REFERENCES symbol_uploads (id) ON DELETE CASCADE,
    key           TEXT NOT NULL, -- <debug file>/<debug id>/<file>
    try           INTEGER NOT NULL,
    size          INTEGER NOT NULL, -- as kept
    text_size     INTEGER NOT NULL, -- unpacked
    md5           TEXT NOT NULL,    -- of the unpacked bytes
    updated       INTEGER NOT NULL, -- took the place of another
    compressed    INTEGER NOT NULL,
    kind          TEXT NOT NULL,    -- sym, elf, macho, pe, pdb or '' (other)
    debug_file    TEXT NOT NULL,
    debug_id      TEXT NOT NULL,
    code_file     TEXT NOT NULL,
    code_id       TEXT NOT NULL,
    generator     TEXT NOT NULL,
    created       TEXT NOT NULL,
    completed     TEXT NOT NULL
);
CREATE INDEX symbol_files_upload ON symbol_files (upload_id);
CREATE INDEX symbol_files_key ON symbol_files (key, try);
CREATE INDEX symbol_files_debug ON symbol_files (debug_file, debug_id);
CREATE INDEX symbol_files_code ON symbol_files (code_file, code_id);
CREATE INDEX symbol_files_code_id ON symbol_files (code_id);

-- Files that a client was invited to send, by the digest of the secret in
-- their address.
CREATE TABLE symbol_tickets (
    digest  TEXT PRIMARY KEY,
    file_id INTEGER NOT NULL REFERENCES symbol_files (id) ON DELETE CASCADE,
    created TEXT NOT NULL
);

CREATE TABLE missing_symbols (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    debug_file TEXT NOT NULL,
    debug_id   TEXT NOT NULL,
    filename   TEXT NOT NULL,
    code_file  TEXT NOT NULL,
    code_id    TEXT NOT NULL,
    count      INTEGER NOT NULL,
    created    TEXT NOT NULL,
    modified   TEXT NOT NULL,
    UNIQUE (debug_file, debug_id, filename, code_file, code_id)
);
CREATE INDEX missing_symbols_modified ON missing_symbols (modified);

-- +goose Down
DROP TABLE missing_symbols;
DROP TABLE symbol_tickets;
DROP TABLE symbol_files;
DROP TABLE symbol_uploads;
