-- +goose Up
CREATE TABLE signatures (
    signature   TEXT PRIMARY KEY,
    first_build TEXT NOT NULL,
    first_date  TEXT NOT NULL
);

CREATE TABLE bugs (
    bug_id    INTEGER NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (bug_id, signature)
);
CREATE INDEX bugs_signature ON bugs (signature);

CREATE TABLE product_versions (
    product        TEXT NOT NULL,
    channel        TEXT NOT NULL,
    build_id       TEXT NOT NULL,
    version_string TEXT NOT NULL,
    PRIMARY KEY (product, channel, build_id, version_string)
);

-- +goose Down
DROP TABLE product_versions;
DROP TABLE bugs;
DROP TABLE signatures;
