-- Times are microseconds of UTC since 1970. `stream` is a model and version; `arrival` numbers batches, those of one
-- model in the order they were committed. A prediction's key is arrival << 24 | row, so the key alone finds its features.

CREATE TABLE schema_version (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE streams (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    version text NOT NULL,
    UNIQUE (model, version)
);

CREATE SEQUENCE arrivals AS bigint;

-- One row for every batch ever applied: what makes a repeated batch a no-op. edges_id: the bins its leaves count
-- in, null when it has none. elsewhere: its arrival number in the store that keeps its rows, null for rows kept here.
CREATE TABLE batches (
    arrival bigint PRIMARY KEY,
    stream integer NOT NULL,
    batch_id text COLLATE "C" NOT NULL UNIQUE,
    arrived_us bigint NOT NULL,
    edges_id text,
    elsewhere bigint
);
CREATE INDEX batches_of_stream ON batches (stream, (coalesce(elsewhere, arrival)));

-- Rows as Arrow: the schema message once, the record batch messages beside it, so that a batch of one row stays
-- small. They are compressed already, and PostgreSQL must not try again.
CREATE TABLE arrow_schemas (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    message bytea NOT NULL
);
CREATE TABLE batch_rows (
    arrival bigint PRIMARY KEY,
    stream integer NOT NULL,
    arrived_us bigint NOT NULL,
    schema integer NOT NULL,
    n integer NOT NULL,
    message bytea NOT NULL
);
ALTER TABLE batch_rows ALTER COLUMN message SET STORAGE EXTERNAL;
CREATE INDEX batch_rows_by_arrival_time ON batch_rows (arrived_us);
CREATE INDEX batch_rows_of_stream ON batch_rows (stream, arrival);

CREATE TABLE predictions (
    key bigint PRIMARY KEY,
    stream integer NOT NULL,
    prediction_id text COLLATE "C" NOT NULL,
    time_us bigint NOT NULL,
    content_hash bigint NOT NULL,
    prediction text,
    score double precision,
    segment text,
    entity_id text,
    latency_seconds double precision
);
-- The id leads, so that a label without a model finds its prediction too.
CREATE UNIQUE INDEX predictions_by_id ON predictions (prediction_id, stream);
CREATE INDEX predictions_by_time ON predictions (stream, time_us, key);

-- The label of a prediction, apart from it: an UPDATE would write the prediction and its index entries once more.
CREATE TABLE labels (
    key bigint PRIMARY KEY,
    stream integer NOT NULL,
    time_us bigint NOT NULL,
    true_label text NOT NULL,
    label_time_us bigint NOT NULL
);
CREATE INDEX labels_by_time ON labels (stream, time_us, key);

-- Labels whose prediction has not arrived; model '' stands for whichever model scores the id.
CREATE TABLE early_labels (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    prediction_id text COLLATE "C" NOT NULL,
    model text NOT NULL,
    true_label text NOT NULL,
    time_us bigint NOT NULL,
    UNIQUE (prediction_id, model)
);

-- Counts and outputs of one hour of one batch, or of the batches first_arrival … that were sealed into one row.
-- output_*: the score, else the numeric prediction; m2 is the sum of squared deviations from the mean.
CREATE TABLE hourly (
    stream integer NOT NULL,
    hour_us bigint NOT NULL,
    first_arrival bigint NOT NULL,
    n bigint NOT NULL,
    first_us bigint NOT NULL,
    last_us bigint NOT NULL,
    output_n bigint NOT NULL,
    output_mean double precision,
    output_m2 double precision,
    output_min double precision,
    output_max double precision,
    PRIMARY KEY (stream, hour_us, first_arrival)
);

-- covers: the batches (batches.arrival) that a leaf counts.
CREATE TABLE leaves (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream integer NOT NULL,
    hour_us bigint NOT NULL,
    segment text,
    edges_id text NOT NULL,
    n bigint NOT NULL,
    first_arrival bigint NOT NULL,
    last_arrival bigint NOT NULL,
    covers bigint[] NOT NULL,
    state bytea NOT NULL
);
CREATE INDEX leaves_by_hour ON leaves (stream, hour_us);

CREATE TABLE marks (
    model text PRIMARY KEY,
    arrival bigint NOT NULL
);

-- The newest row of a model version is its current reference; the older ones stay readable.
CREATE TABLE reference_documents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    version text NOT NULL,
    reference_id text NOT NULL,
    document bytea NOT NULL
);
CREATE INDEX reference_documents_of ON reference_documents (model, version, id);

-- `brief` is the check without the distributions of its columns, so that a list of checks reads little.
CREATE TABLE checks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    check_id text NOT NULL UNIQUE,
    model text NOT NULL,
    version text NOT NULL,
    end_us bigint NOT NULL,
    brief json NOT NULL,
    document json NOT NULL
);
CREATE INDEX checks_by_end ON checks (model, end_us, id);

CREATE TABLE alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    model text NOT NULL,
    changed_us bigint NOT NULL,
    document json NOT NULL
);

CREATE TABLE custom_metrics (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    time_us bigint NOT NULL,
    name text NOT NULL,
    value double precision,
    labels json NOT NULL
);
CREATE INDEX custom_metrics_by_time ON custom_metrics (model, time_us);

-- state: waiting, retry, sent or dead. A claim moves due_us to the end of its lease.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    channel text NOT NULL,
    kind text NOT NULL,
    body json NOT NULL,
    created_us bigint NOT NULL,
    state text NOT NULL DEFAULT 'waiting',
    attempts integer NOT NULL DEFAULT 0,
    due_us bigint NOT NULL,
    changed_us bigint NOT NULL,
    error text
);
CREATE INDEX outbox_due ON outbox (due_us) WHERE state IN ('waiting', 'retry');

CREATE TABLE runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL UNIQUE,
    model text NOT NULL,
    at_us bigint NOT NULL,
    document json NOT NULL
);
CREATE INDEX runs_by_time ON runs (model, at_us);

CREATE TABLE tokens (
    id text PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    scopes json NOT NULL,
    expires_us bigint,
    created_us bigint NOT NULL,
    revoked boolean NOT NULL DEFAULT false
);

CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us bigint NOT NULL,
    who text NOT NULL,
    what text NOT NULL,
    details json NOT NULL
);
