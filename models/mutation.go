package models

import "time"

// Mutation is one row of the table of mutations: a change that a client asked for
// under an id of its own, and how it ended. It holds no data of the row. It is a
// GORM model.
type Mutation struct {
	// Actor, ClientID and MutationID are the key: client ids are seen by others, so
	// without the actor a stranger could take or read somebody's mutations.
	Actor      string `gorm:"column:actor;primaryKey"`
	ClientID   string `gorm:"column:client_id;primaryKey"`
	MutationID string `gorm:"column:mutation_id;primaryKey"`
	// Request is a hash of what was asked for.
	Request  string `gorm:"column:request;not null"`
	Entity   string `gorm:"column:entity;not null"`
	EntityID string `gorm:"column:entity_id;not null;default:''"`
	// Status is the answer's.
	Status PushStatus `gorm:"column:status;not null;default:''"`
	// Version is the answer's; -1 when the row could not be looked at.
	Version int64 `gorm:"column:version;not null;default:0"`
	// Error is the answer's error as JSON; nil for none.
	Error     JSON      `gorm:"column:error"`
	CreatedAt time.Time `gorm:"column:created_at;not null;autoCreateTime:false"`
	// Conflicts are the fields that the answer had in conflict, as JSON, without their
	// values: of each its name, the times, how it was settled, and the version of the
	// row before. Nil for none.
	Conflicts JSON `gorm:"column:conflicts"`
}

// TableName implements schema.Tabler with the default prefix.
func (Mutation) TableName() string { return TablesFor("").Mutations }
