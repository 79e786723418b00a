-- +goose Up
CREATE TABLE jobs (
    name    TEXT PRIMARY KEY,
    started TEXT NOT NULL,
    took_ms INTEGER NOT NULL,
    error   TEXT NOT NULL -- '' when it was done
);

-- +goose Down
DROP TABLE jobs;
