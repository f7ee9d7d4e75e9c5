-- What pruning, deleting by subject and counting losses need.

-- Whether predictions of the batch are still there; pruning finds by it what it has not yet taken away.
ALTER TABLE batches ADD COLUMN pruned boolean NOT NULL DEFAULT false;
CREATE INDEX batches_to_prune ON batches (arrived_us) WHERE NOT pruned;

CREATE INDEX predictions_of_entity ON predictions USING hash (entity_id);

-- What processes offered and did not store: the count so far of each, by hour of arrival.
CREATE TABLE losses (
    model text NOT NULL,
    version text NOT NULL,
    hour_us bigint NOT NULL,
    reason text NOT NULL,
    source text NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (model, version, hour_us, reason, source)
);

-- Labels of each stream, kept by triggers: counting millions of rows for every scrape of the metrics would be slow.
ALTER TABLE streams ADD COLUMN labels bigint NOT NULL DEFAULT 0;
UPDATE streams s SET labels = (SELECT count(*) FROM labels l WHERE l.stream = s.id);

CREATE FUNCTION count_added_labels() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE streams s SET labels = s.labels + c.n
    FROM (SELECT stream, count(*) AS n FROM changed GROUP BY stream) c WHERE s.id = c.stream;
    RETURN NULL;
END $$;
CREATE FUNCTION count_removed_labels() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE streams s SET labels = s.labels - c.n
    FROM (SELECT stream, count(*) AS n FROM changed GROUP BY stream) c WHERE s.id = c.stream;
    RETURN NULL;
END $$;
CREATE TRIGGER labels_added AFTER INSERT ON labels REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_added_labels();
CREATE TRIGGER labels_removed AFTER DELETE ON labels REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_removed_labels();

-- For people: predictions with their names, times and labels.
CREATE VIEW outcomes AS
SELECT s.model, s.version, p.prediction_id, to_timestamp(p.time_us / 1e6) AS time, p.prediction, p.score, p.segment,
       p.entity_id, p.latency_seconds, l.true_label, to_timestamp(l.label_time_us / 1e6) AS label_time
FROM predictions p JOIN streams s ON s.id = p.stream LEFT JOIN labels l ON l.key = p.key;
