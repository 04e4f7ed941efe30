package models

import (
	"fmt"
	"regexp"
	"time"
)

// DefaultPrefix begins the names of the log tables, as in rhtmx-sync.
const DefaultPrefix = "_rhtmx_"

// Tables names what one installation has in the database.
type Tables struct {
	Changes   string // one row a change, e.g. _rhtmx_sync_log
	Fields    string // one row a changed field, e.g. _rhtmx_field_sync_log
	Meta      string // keys and values, e.g. _rhtmx_sync_meta
	Mutations string // one row a mutation that a client pushed, e.g. _rhtmx_sync_mutation
	Copy      string // there while a copy into the database is not complete, e.g. _rhtmx_sync_copy
	Channel   string // not a table: where PostgreSQL's NOTIFY rings, e.g. _rhtmx_sync
}

// tablePrefix leaves room for the longest name that PostgreSQL takes, 63 bytes.
var tablePrefix = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]{0,29})?$`)

// CheckPrefix returns an error unless a prefix is empty or up to 30 letters, digits
// and underscores, none of the digits first.
func CheckPrefix(prefix string) error {
	if !tablePrefix.MatchString(prefix) {
		return fmt.Errorf("the table prefix is %q; use up to 30 letters, digits and underscores, none of the digits first", prefix)
	}
	return nil
}

// TablesFor gives the table names for a prefix; an empty one means DefaultPrefix.
func TablesFor(prefix string) Tables {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return Tables{Changes: prefix + "sync_log", Fields: prefix + "field_sync_log", Meta: prefix + "sync_meta", Mutations: prefix + "sync_mutation", Copy: prefix + "sync_copy", Channel: prefix + "sync"}
}

// Change is one row of the change log: one row of a tracked table that was
// created, updated or deleted. It is a GORM model and, as JSON, the change of
// the wire contract.
type Change struct {
	// ID numbers the log's rows. It is taken while the changed row is locked, so
	// for one row it grows in the order of its changes; between rows it says
	// nothing about the order of commits.
	ID int64 `gorm:"column:id;primaryKey;autoIncrement" json:"id"`
	// Entity is the table's name.
	Entity string `gorm:"column:entity;not null" json:"entity"`
	// EntityID is the row's primary key as text; see EncodeID for composite keys.
	EntityID string `gorm:"column:entity_id;not null" json:"entity_id"`
	Action   Action `gorm:"column:action;not null" json:"action"`
	// Data is the row after the change by column name; nil for a delete.
	Data JSON `gorm:"column:data" json:"data"`
	// Version equals ID.
	Version int64 `gorm:"column:version;not null" json:"version"`
	// ClientID names the client that made the change; nil if none said so.
	ClientID *string `gorm:"column:client_id" json:"client_id"`
	// Actor names who made the change; empty if nobody is known.
	Actor string `gorm:"column:actor;not null;default:''" json:"actor"`
	// MutationID is the client's own name for the change; empty for the server's changes.
	MutationID string `gorm:"column:mutation_id;not null;default:''" json:"mutation_id,omitempty"`
	// CreatedAt is when the server wrote the change.
	CreatedAt time.Time `gorm:"column:created_at;not null" json:"created_at"`
	// EditedAt is when the change was made: the client's time, never later than CreatedAt.
	EditedAt time.Time `gorm:"column:edited_at;not null" json:"-"`
	// Tx tells the transaction: its xid on PostgreSQL, the ID of its first log row on SQLite.
	Tx int64 `gorm:"column:tx;not null;default:0" json:"-"`
	// Scope is the text of the scope column; nil if the entity has none or the row's is NULL.
	Scope *string `gorm:"column:scope" json:"-"`
	// Move marks the two log rows of a change of scope.
	Move Move `gorm:"column:move;not null;default:''" json:"-"`
}

// TableName implements schema.Tabler with the default prefix.
func (Change) TableName() string { return TablesFor("").Changes }

// FieldBits is what the id of a field's change holds of the field's place among
// the fields of its change: the id is version<<FieldBits | place. So the field log
// is in the order of the change log, and the fields of a change are found by the
// primary key alone. No table has more columns than fit, and the integers of
// JSON leave room for 2^42 versions.
const FieldBits = 11

// FieldChange is one row of the field log: one field of one change.
type FieldChange struct {
	// ID is Version<<FieldBits plus the field's place in its change.
	ID int64 `gorm:"column:id;primaryKey;autoIncrement:false" json:"id"`
	// Entity and EntityID are those of the change.
	Entity   string `gorm:"column:entity;not null" json:"entity"`
	EntityID string `gorm:"column:entity_id;not null" json:"entity_id"`
	// Field is the column's name.
	Field string `gorm:"column:field;not null" json:"field"`
	// Value is the field's new value; nil when Action is Delete.
	Value JSON `gorm:"column:value" json:"value"`
	// Action is Update, or Delete when the field became NULL or the row went.
	Action Action `gorm:"column:action;not null" json:"action"`
	// Version is the Version of the change.
	Version int64 `gorm:"column:version;not null" json:"version"`
	// ClientID and Actor are those of the change.
	ClientID *string `gorm:"column:client_id" json:"client_id"`
	Actor    string  `gorm:"column:actor;not null;default:''" json:"actor"`
	// Timestamp is when the edit was made: the change's EditedAt.
	Timestamp time.Time `gorm:"column:timestamp;not null" json:"timestamp"`
	// Tx and Scope are those of the change.
	Tx    int64   `gorm:"column:tx;not null;default:0" json:"-"`
	Scope *string `gorm:"column:scope" json:"-"`
}

// TableName implements schema.Tabler with the default prefix.
func (FieldChange) TableName() string { return TablesFor("").Fields }

// Meta is one fact about the log itself, such as its schema version.
type Meta struct {
	Key   string `gorm:"column:key;primaryKey"`
	Value string `gorm:"column:value;not null"`
}

// TableName implements schema.Tabler with the default prefix.
func (Meta) TableName() string { return TablesFor("").Meta }

// Keys of Meta.
const (
	// MetaSchema holds the schema version of the log tables, a decimal number.
	MetaSchema = "schema_version"
	// MetaEpoch holds a random text that is part of every cursor's epoch.
	MetaEpoch = "epoch"
	// MetaHorizon holds the highest transaction that was pruned from the log, a
	// decimal number.
	MetaHorizon = "horizon"
	// MetaHome holds the cluster, the database and the log table that the log was in
	// when it was last opened, on PostgreSQL.
	MetaHome = "home"
	// MetaCopied tells of what migrate.Copy has made a complete copy here.
	MetaCopied = "copied"
	// MetaEntity begins the keys that hold, for each entity, a JSON object with its
	// scope column, its hidden columns and how often these have changed.
	MetaEntity = "entity:"
)
