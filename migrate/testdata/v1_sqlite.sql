-- The tables of schema version 1.
CREATE TABLE `_rhtmx_sync_meta` (`key` text,`value` text NOT NULL,PRIMARY KEY (`key`));
CREATE TABLE `_rhtmx_sync_log` (`id` integer PRIMARY KEY AUTOINCREMENT,`entity` text NOT NULL,`entity_id` text NOT NULL,`action` text NOT NULL,`data` text,`version` integer NOT NULL,`client_id` text,`actor` text NOT NULL DEFAULT "",`mutation_id` text NOT NULL DEFAULT "",`created_at` datetime NOT NULL,`edited_at` datetime NOT NULL,`tx` integer NOT NULL DEFAULT 0,`scope` text,`move` text NOT NULL DEFAULT "");
CREATE TABLE `_rhtmx_field_sync_log` (`id` integer,`entity` text NOT NULL,`entity_id` text NOT NULL,`field` text NOT NULL,`value` text,`action` text NOT NULL,`version` integer NOT NULL,`client_id` text,`actor` text NOT NULL DEFAULT "",`timestamp` datetime NOT NULL,`tx` integer NOT NULL DEFAULT 0,`scope` text,PRIMARY KEY (`id`));
CREATE INDEX IF NOT EXISTS "_rhtmx_sync_log_row" ON "_rhtmx_sync_log" (entity, entity_id);
INSERT INTO `_rhtmx_sync_meta` (`key`,`value`) VALUES ('epoch','THEEPOCHOFVERSIONONE') ON CONFLICT DO NOTHING;
INSERT INTO `_rhtmx_sync_meta` (`key`,`value`) VALUES ('schema_version','1') ON CONFLICT (`key`) DO UPDATE SET `value`=`excluded`.`value`;
