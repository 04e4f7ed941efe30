-- The tables of rhtmx-sync on PostgreSQL.
CREATE TABLE _rhtmx_sync_log (
    id BIGSERIAL PRIMARY KEY,
    entity VARCHAR NOT NULL,
    entity_id VARCHAR NOT NULL,
    action VARCHAR NOT NULL,
    data TEXT,
    version BIGINT NOT NULL,
    client_id VARCHAR,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_sync_entity_version ON _rhtmx_sync_log(entity, version);
CREATE INDEX idx_sync_entity_id ON _rhtmx_sync_log(entity, entity_id);
CREATE FUNCTION notify_sync_change() RETURNS TRIGGER AS $$
BEGIN
    PERFORM pg_notify('_rhtmx_sync_' || NEW.entity, NEW.id::text);
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER sync_change_notify AFTER INSERT ON _rhtmx_sync_log FOR EACH ROW EXECUTE FUNCTION notify_sync_change();

CREATE TABLE _rhtmx_field_sync_log (
    id BIGSERIAL PRIMARY KEY,
    entity VARCHAR NOT NULL,
    entity_id VARCHAR NOT NULL,
    field VARCHAR NOT NULL,
    value TEXT,
    action VARCHAR NOT NULL,
    version BIGINT NOT NULL,
    client_id VARCHAR,
    timestamp TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_field_sync_entity_field ON _rhtmx_field_sync_log(entity, entity_id, field, version);
CREATE INDEX idx_field_sync_version ON _rhtmx_field_sync_log(entity, version);
CREATE INDEX idx_field_sync_latest ON _rhtmx_field_sync_log(entity, entity_id, field, id DESC);
CREATE FUNCTION notify_field_sync_change() RETURNS TRIGGER AS $$
BEGIN
    PERFORM pg_notify('_rhtmx_field_sync_' || NEW.entity, NEW.id::text);
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER field_sync_change_notify AFTER INSERT ON _rhtmx_field_sync_log FOR EACH ROW EXECUTE FUNCTION notify_field_sync_change();
