-- The tables of rhtmx-sync on SQLite.
CREATE TABLE _rhtmx_sync_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    entity TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    action TEXT NOT NULL,
    data TEXT,
    version INTEGER NOT NULL,
    client_id TEXT,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_sync_entity_version ON _rhtmx_sync_log(entity, version);
CREATE INDEX idx_sync_entity_id ON _rhtmx_sync_log(entity, entity_id);

CREATE TABLE _rhtmx_field_sync_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    entity TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT,
    action TEXT NOT NULL,
    version INTEGER NOT NULL,
    client_id TEXT,
    timestamp DATETIME DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_field_sync_entity_field ON _rhtmx_field_sync_log(entity, entity_id, field, version);
CREATE INDEX idx_field_sync_version ON _rhtmx_field_sync_log(entity, version);
CREATE INDEX idx_field_sync_latest ON _rhtmx_field_sync_log(entity, entity_id, field, id DESC);
