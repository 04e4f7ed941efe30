package trackers

import (
	"context"
	"strings"
	"time"
)

type (
	actorKey   struct{}
	clientKey  struct{}
	untrackKey struct{}
	pushedKey  struct{}
	baseKey    struct{}
)

// WithActor returns a context whose changes carry the actor's name in the log.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, storable(actor))
}

// WithClient returns a context whose changes carry the client's id in the log,
// so that the client knows its own changes when they come back.
func WithClient(ctx context.Context, clientID string) context.Context {
	return context.WithValue(ctx, clientKey{}, storable(clientID))
}

// Untracked returns a context whose changes are in no log: no client will hear
// of them.
func Untracked(ctx context.Context) context.Context {
	return context.WithValue(ctx, untrackKey{}, true)
}

// storable leaves out what PostgreSQL cannot store as text: a change must not fail
// by the name of who made it.
func storable(name string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(name, ""), "\x00", "")
}

func actorOf(ctx context.Context) string {
	s, _ := ctx.Value(actorKey{}).(string)
	return s
}

func clientOf(ctx context.Context) string {
	s, _ := ctx.Value(clientKey{}).(string)
	return s
}

func untracked(ctx context.Context) bool {
	return ctx.Value(untrackKey{}) != nil
}

// pushed is the mutation that a context's changes are made for.
type pushed struct {
	id     string    // the client's name for it; empty for none
	edited time.Time // when the client made its edit; zero if it does not say
	entity string
	row    string       // the entity id
	fields []string     // what the client has set: it counts also where it is the same, or nothing
	model  any          // what is saved, and
	was    []fieldValue // its values by Schema.DBNames before it was changed; nil for a new one
	unkept bool         // the statement ran and changed nothing
}

func withPushed(ctx context.Context, p *pushed) context.Context {
	return context.WithValue(ctx, pushedKey{}, p)
}

func pushedOf(ctx context.Context) *pushed {
	p, _ := ctx.Value(pushedKey{}).(*pushed)
	return p
}
