-- +goose Up
CREATE TABLE users (
    id          INTEGER PRIMARY KEY,
    email       TEXT NOT NULL UNIQUE,
    permissions TEXT NOT NULL DEFAULT '', -- comma-separated
    active      INTEGER NOT NULL DEFAULT 1,
    created     TEXT NOT NULL
);

CREATE TABLE tokens (
    id          INTEGER PRIMARY KEY,
    digest      TEXT NOT NULL UNIQUE, -- SHA-256 of the token
    user_id     INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    permissions TEXT NOT NULL DEFAULT '',
    notes       TEXT NOT NULL DEFAULT '',
    operator    INTEGER NOT NULL DEFAULT 0, -- made on the command line: not cut to its owner's permissions
    created     TEXT NOT NULL,
    expires     TEXT NOT NULL
);

CREATE TABLE links (
    digest  TEXT PRIMARY KEY, -- SHA-256 of the one-use sign-in link
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires TEXT NOT NULL
);

CREATE TABLE sessions (
    token  TEXT PRIMARY KEY,
    data   BLOB NOT NULL,
    expiry TEXT NOT NULL
);

CREATE TABLE audit (
    id   INTEGER PRIMARY KEY,
    time TEXT NOT NULL,
    who  TEXT NOT NULL,
    what TEXT NOT NULL
);

-- +goose Down
DROP TABLE audit;
DROP TABLE sessions;
DROP TABLE links;
DROP TABLE tokens;
DROP TABLE users;
