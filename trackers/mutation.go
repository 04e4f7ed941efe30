package trackers

import (
	"context"
	"time"

	"github.com/rhtmx/gormsync/models"
)

// Mutation is a change that a client asks for.
type Mutation struct {
	Entity string
	// ID is the row's entity id; what the client calls the row where the database
	// makes the key.
	ID     string
	Action models.Action
	// Data are the fields that the client sent, by column; nil for none.
	Data map[string]models.JSON
	// Base is the version that the edit began with; nil if the client does not say.
	Base *int64
	// MutationID is the client's own name for the mutation, at most models.MaxName
	// characters; empty for none. With one, the mutation is done once however often it
	// comes.
	MutationID string
	// Unnamed says that MutationID only comes back in the answer, and nothing is
	// remembered under it.
	Unnamed bool
	// At is when the client made the edit; zero if it does not say. What lies ahead
	// counts as now.
	At time.Time
	// Filter tells which rows the client may see and change.
	Filter Filter
	// Refused is why the mutation is not allowed at all; nil if it is. It is remembered
	// as any other answer.
	Refused *models.PushError
}

// Author is who pushes.
type Author struct {
	Actor  string
	Client string
	// Unknown says that nobody can tell the actor. What is refused is then not
	// remembered: it would be everybody's.
	Unknown bool
}

// Push does what a client asks for, each mutation in a transaction of its own, or
// all in one if atomic. It saves the application's models through GORM, so that
// their hooks and a method Validate() error run. The results are in the order of
// the mutations; errors are among them, as is that the database was busy. What comes
// behind a mutation that could not even begin is not tried: it would wait as long.
func (l *Log) Push(ctx context.Context, by Author, mutations []Mutation, atomic bool) []models.PushResult {
	if atomic {
		results, _ := l.pushGroup(ctx, by, mutations)
		return results
	}
	results := make([]models.PushResult, 0, len(mutations))
	for i := range mutations {
		one, begun := l.pushGroup(ctx, by, mutations[i:i+1])
		if results = append(results, one...); !begun {
			rest := group{all: mutations[i+1:]}
			return append(results, rest.busy()...)
		}
	}
	return results
}

// original: the original clients name neither a base nor the mutation, and send
// whole rows.
func (m *Mutation) original() bool { return m.Base == nil && m.MutationID == "" && m.At.IsZero() }

func (m *Mutation) allowed() bool { return m.Refused == nil }

// lasting: the answer is remembered, so that it can be given again.
func (m *Mutation) lasting() bool { return m.MutationID != "" && !m.Unnamed }

func (m *Mutation) edit(by Author, now time.Time) Edit {
	e := Edit{At: m.At.UTC().Truncate(time.Microsecond), Client: by.Client}
	switch {
	case m.At.IsZero():
		e.At = time.Time{}
	case e.At.After(now):
		e.At = now
	}
	return e
}

func refuse(code, field, message string) *models.PushError {
	return &models.PushError{Code: code, Field: field, Message: message}
}
