-- Batches whose rows are in another store: its arrival number. Null for those whose rows are here.
ALTER TABLE batches ADD COLUMN elsewhere INTEGER;

-- The batches (`batches.arrival`) that a leaf counts, as differences of ascending numbers, packed. Null: the batch
-- first_arrival, or in a file written before this column the batches first_arrival … last_arrival of these bins.
ALTER TABLE leaves ADD COLUMN covers BLOB;

-- What processes offered and did not store: the count so far of each, by hour of arrival.
CREATE TABLE losses (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    hour_us INTEGER NOT NULL,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (model, version, hour_us, reason, source)
) WITHOUT ROWID;
