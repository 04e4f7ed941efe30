package handlers

import (
	"context"
	"errors"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// pullJob is a sync message that waits for its answer.
type pullJob struct {
	filter trackers.Filter
	from   models.Cursor
	reset  bool // the client has to drop what it has
	form   form
}

// pull answers the message sync: what GET would answer, as frames.
func (c *conn) pull(ctx context.Context, who caller, m inbound) error {
	filter, _, err := c.h.filter(ctx, who, m.Entity)
	if err == nil && !c.hub.has(m.Entity) {
		err = unknownEntity(m.Entity)
	}
	if err != nil {
		return err
	}
	job := pullJob{filter: filter}
	text := m.Since.of(m.Entity)
	if isOriginal(text) {
		job.reset = true
	} else if job.from, _, err = models.ParseCursor(text); err != nil {
		return err
	}
	if !job.from.IsZero() && !job.from.HasCover(filter.Cover()) {
		job.from, job.reset = models.Cursor{}, true
	}
	return c.session.enqueue(job)
}

// enqueue has a pull answered when those before it are.
func (s *session) enqueue(job pullJob) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pulls) >= maxReplies {
		return &apiError{Code: "too_many", Message: "So many pulls are waiting already; wait for their answers."}
	}
	job.form = s.form
	s.pulls = append(s.pulls, job)
	if !s.pulling {
		s.pulling = true
		s.hub.background.Go(s.answerPulls)
	}
	return nil
}

func (s *session) answerPulls() {
	for {
		s.mu.Lock()
		if len(s.pulls) == 0 || s.closed {
			s.pulling = false
			s.mu.Unlock()
			return
		}
		job := s.pulls[0]
		s.pulls = s.pulls[1:]
		s.mu.Unlock()
		if err := s.answerPull(&job); err != nil && s.hub.reading.Err() == nil {
			s.hub.opts.logger.Error("gormsync: a sync message cannot be answered", "entity", job.filter.Entity, "error", err)
			s.reply(errorFrame(errUnread)) // it may be another time
		}
	}
}

// answerPull sends the pages, each when the connection has taken the one before.
func (s *session) answerPull(job *pullJob) error {
	for again := true; again; {
		p, err := s.pullPage(job)
		if errors.Is(err, models.ErrCursorExpired) {
			job.from, job.reset = models.Cursor{}, true
			continue
		}
		if err != nil {
			return err
		}
		if job.reset {
			job.reset = false
			s.reply(resetFrame([]string{job.filter.Entity}, reasonExpired))
		}
		p.next.Covers = coversOf([]trackers.Filter{job.filter})
		for entries := p.entries; len(entries) > 0; {
			n, more := job.form.cut(entries, !entries[len(entries)-1].open)
			f := job.form.encode(entries[:n], more, func(at models.Cursor) models.Cursor {
				at.Covers = p.next.Covers
				return at
			})
			if !s.give(f) {
				return nil
			}
			s.hub.opts.observer.Answered(n, len(f.bytes))
			entries = entries[n:]
		}
		job.from, again = p.next, p.more
	}
	s.reply(syncedFrame(job.filter.Entity, job.from))
	return nil
}

func (s *session) pullPage(job *pullJob) (page, error) {
	select {
	case s.hub.opts.reads <- struct{}{}:
		defer func() { <-s.hub.opts.reads }()
	case <-s.hub.reading.Done():
		return page{}, s.hub.reading.Err()
	}
	return s.hub.source.pull(s.hub.reading, job.filter, job.from)
}

// give hands a frame to the connection and waits until it has taken it; false when
// the session ended.
func (s *session) give(f frame) bool {
	taken := make(chan struct{})
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	s.replies = append(s.replies, f)
	s.taken = taken
	s.pump()
	s.mu.Unlock()
	select {
	case <-taken:
		return true
	case <-s.hub.reading.Done():
		return false
	}
}
