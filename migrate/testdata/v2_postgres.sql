-- The tables of schema version 2.
CREATE TABLE "_rhtmx_sync_meta" ("key" text,"value" text NOT NULL,PRIMARY KEY ("key"));
CREATE TABLE "_rhtmx_sync_log" ("id" bigserial,"entity" text NOT NULL,"entity_id" text NOT NULL,"action" text NOT NULL,"data" text,"version" bigint NOT NULL,"client_id" text,"actor" text NOT NULL DEFAULT '',"mutation_id" text NOT NULL DEFAULT '',"created_at" timestamptz NOT NULL,"edited_at" timestamptz NOT NULL,"tx" bigint NOT NULL DEFAULT 0,"scope" text,"move" text NOT NULL DEFAULT '',PRIMARY KEY ("id"));
CREATE TABLE "_rhtmx_field_sync_log" ("id" bigint,"entity" text NOT NULL,"entity_id" text NOT NULL,"field" text NOT NULL,"value" text,"action" text NOT NULL,"version" bigint NOT NULL,"client_id" text,"actor" text NOT NULL DEFAULT '',"timestamp" timestamptz NOT NULL,"tx" bigint NOT NULL DEFAULT 0,"scope" text,PRIMARY KEY ("id"));
CREATE TABLE "_rhtmx_sync_mutation" ("actor" text,"client_id" text,"mutation_id" text,"request" text NOT NULL,"entity" text NOT NULL,"entity_id" text NOT NULL DEFAULT '',"status" text NOT NULL DEFAULT '',"version" bigint NOT NULL DEFAULT 0,"error" text,"created_at" timestamptz NOT NULL,PRIMARY KEY ("actor","client_id","mutation_id"));
ALTER TABLE "_rhtmx_sync_log" ALTER COLUMN tx SET DEFAULT (pg_current_xact_id()::text::bigint);
ALTER TABLE "_rhtmx_field_sync_log" ALTER COLUMN tx SET DEFAULT (pg_current_xact_id()::text::bigint);
CREATE INDEX IF NOT EXISTS "_rhtmx_sync_log_feed" ON "_rhtmx_sync_log" (entity, tx, id);
CREATE INDEX IF NOT EXISTS "_rhtmx_sync_log_scope" ON "_rhtmx_sync_log" (entity, scope, tx, id) WHERE scope IS NOT NULL;
CREATE INDEX IF NOT EXISTS "_rhtmx_sync_log_tx" ON "_rhtmx_sync_log" (tx, id);
CREATE INDEX IF NOT EXISTS "_rhtmx_sync_log_row" ON "_rhtmx_sync_log" (entity, entity_id, id);
CREATE INDEX IF NOT EXISTS "_rhtmx_sync_mutation_age" ON "_rhtmx_sync_mutation" (created_at);
INSERT INTO "_rhtmx_sync_meta" ("key","value") VALUES ('epoch','THEEPOCHOFVERSIONONE') ON CONFLICT DO NOTHING;
INSERT INTO "_rhtmx_sync_meta" ("key","value") VALUES ('schema_version','2') ON CONFLICT ("key") DO UPDATE SET "value"="excluded"."value";
