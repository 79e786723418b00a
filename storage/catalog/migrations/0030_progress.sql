-- +goose Up
CREATE TABLE progress (
    name    TEXT PRIMARY KEY,
    started TEXT NOT NULL,
    updated TEXT NOT NULL,
    place   TEXT NOT NULL, -- where to go on
    done    INTEGER NOT NULL
);

-- +goose Down
DROP TABLE progress;
