-- Times are microseconds of UTC since 1970. `stream` is a model and version; `arrival` numbers batches in the
-- order they were committed. A prediction's key is arrival << 24 | row, so the key alone finds its features.

CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    UNIQUE (model, version)
);

-- One row for every batch ever applied: what makes a repeated batch a no-op. edges_id: the bins its leaves count
-- in, null when it has none.
CREATE TABLE batches (
    arrival INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id TEXT NOT NULL UNIQUE,
    stream INTEGER NOT NULL,
    arrived_us INTEGER NOT NULL,
    edges_id TEXT
);
CREATE INDEX batches_of_stream ON batches (stream, arrival);

-- Rows as Arrow: the schema message once, the record batch messages beside it, so that a batch of one row stays
-- small. Apart from `batches` because an UPDATE would rewrite the blob with the row.
CREATE TABLE arrow_schemas (
    id INTEGER PRIMARY KEY,
    message BLOB NOT NULL UNIQUE
);
CREATE TABLE batch_rows (
    arrival INTEGER PRIMARY KEY,
    schema INTEGER NOT NULL,
    n INTEGER NOT NULL,
    message BLOB NOT NULL
);

CREATE TABLE predictions (
    key INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    prediction_id TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    content_hash INTEGER NOT NULL,
    prediction TEXT,
    score REAL,
    segment TEXT,
    entity_id TEXT,
    latency_seconds REAL,
    true_label TEXT,
    label_time_us INTEGER
);
-- The id leads, so that a label without a model finds its prediction too.
CREATE UNIQUE INDEX predictions_by_id ON predictions (prediction_id, stream);
CREATE INDEX predictions_by_time ON predictions (stream, time_us);
CREATE INDEX predictions_labelled ON predictions (stream, time_us) WHERE true_label IS NOT NULL;

-- Labels whose prediction has not arrived; model '' stands for whichever model scores the id.
CREATE TABLE early_labels (
    id INTEGER PRIMARY KEY,
    prediction_id TEXT NOT NULL,
    model TEXT NOT NULL,
    true_label TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    UNIQUE (prediction_id, model)
);

-- Counts and outputs of one hour of one batch, or of the batches first_arrival … that were sealed into one row.
-- output_*: the score, else the numeric prediction; m2 is the sum of squared deviations from the mean.
CREATE TABLE hourly (
    stream INTEGER NOT NULL,
    hour_us INTEGER NOT NULL,
    first_arrival INTEGER NOT NULL,
    n INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    output_n INTEGER NOT NULL,
    output_mean REAL,
    output_m2 REAL,
    output_min REAL,
    output_max REAL,
    PRIMARY KEY (stream, hour_us, first_arrival)
) WITHOUT ROWID;

-- Ids are never used again (AUTOINCREMENT): sealing notices by them that another process was faster.
CREATE TABLE leaves (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL,
    hour_us INTEGER NOT NULL,
    segment TEXT,
    edges_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    first_arrival INTEGER NOT NULL,
    last_arrival INTEGER NOT NULL,
    state BLOB NOT NULL
);
CREATE INDEX leaves_by_hour ON leaves (stream, hour_us);

CREATE TABLE marks (
    model TEXT PRIMARY KEY,
    arrival INTEGER NOT NULL
) WITHOUT ROWID;

-- The newest row of a model version is its current reference; the older ones stay readable.
CREATE TABLE reference_documents (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    reference_id TEXT NOT NULL,
    document BLOB NOT NULL
);
CREATE INDEX reference_documents_of ON reference_documents (model, version, id);

-- `brief` is the check without the distributions of its columns; it comes first so that a list of checks reads
-- none of the pages of `document`.
CREATE TABLE checks (
    check_id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    end_us INTEGER NOT NULL,
    brief BLOB NOT NULL,
    document BLOB NOT NULL
);
CREATE INDEX checks_by_end ON checks (model, end_us);

CREATE TABLE alerts (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    changed_us INTEGER NOT NULL,
    document BLOB NOT NULL
);

CREATE TABLE custom_metrics (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    name TEXT NOT NULL,
    value REAL,
    labels BLOB NOT NULL
);
CREATE INDEX custom_metrics_by_time ON custom_metrics (model, time_us);

-- state: waiting, retry, sent or dead. A claim moves due_us to the end of its lease.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    channel TEXT NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    created_us INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',
    attempts INTEGER NOT NULL DEFAULT 0,
    due_us INTEGER NOT NULL,
    changed_us INTEGER NOT NULL,
    error TEXT
);
CREATE INDEX outbox_due ON outbox (due_us) WHERE state IN ('waiting', 'retry');

CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    document BLOB NOT NULL
);
CREATE INDEX runs_by_time ON runs (model, at_us);

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    scopes BLOB NOT NULL,
    expires_us INTEGER,
    created_us INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    details BLOB NOT NULL
);
