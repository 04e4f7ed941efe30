// Package metrics tells Prometheus what delivery does.
//
//	m := metrics.New()
//	prometheus.MustRegister(m)
//	sync, err := gormsync.New(gormsync.Config{Observer: m, …})
package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics is an Observer of gormsync and a prometheus.Collector. Make it with New.
type Metrics struct {
	connections *prometheus.GaugeVec
	deliveries  prometheus.Counter
	frames      prometheus.Counter
	bytes       prometheus.Counter
	answers     prometheus.Counter
	answered    prometheus.Counter
	behind      prometheus.Histogram
	lag         prometheus.Histogram
	reads       prometheus.Histogram
	read        prometheus.Counter
	fell        prometheus.Counter
	pages       prometheus.Counter
	resets      *prometheus.CounterVec
	closed      *prometheus.CounterVec

	all []prometheus.Collector
}

var _ prometheus.Collector = (*Metrics)(nil)

// New makes metrics whose names begin with gormsync_. Register them once, and use
// them for one plugin.
func New() *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "gormsync", Name: name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "gormsync", Name: name, Help: help}, []string{label})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "gormsync", Name: name, Help: help, Buckets: buckets})
	}
	m := &Metrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "gormsync", Name: "connections", Help: "Live connections."}, []string{"transport"}),
		deliveries:  counter("delivered_changes_total", "Changes handed to connections."),
		frames:      counter("delivered_frames_total", "Frames with changes handed to connections."),
		bytes:       counter("delivered_bytes_total", "Bytes of those frames."),
		answers:     counter("answered_frames_total", "Frames with changes that answered sync messages."),
		answered:    counter("answered_changes_total", "Changes in those frames."),
		behind:      histogram("delivery_behind_changes", "How many changes a connection was behind the log when it was handed a frame.", []float64{0, 1, 10, 100, 1000, 10000}),
		lag:         histogram("delivery_lag_seconds", "The time from the logging of a change until it was handed to a connection.", prometheus.ExponentialBuckets(0.0005, 4, 10)),
		reads:       histogram("log_read_seconds", "The time of the hub's reads of the log.", prometheus.ExponentialBuckets(0.0002, 4, 9)),
		read:        counter("log_read_changes_total", "Changes that the hub read from the log."),
		fell:        counter("fell_behind_total", "Connections that had to read the log, since what they needed was no longer in memory."),
		pages:       counter("catch_up_pages_total", "Pages of the log read for connections that fell behind or came back."),
		resets:      counters("resets_total", "Clients told to take a new snapshot.", "reason"),
		closed:      counters("closed_total", "Connections ended by the server.", "code"),
	}
	m.all = []prometheus.Collector{
		m.connections, m.deliveries, m.frames, m.bytes, m.answers, m.answered, m.behind, m.lag, m.reads, m.read, m.fell, m.pages, m.resets, m.closed,
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.all {
		c.Describe(to)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.all {
		c.Collect(to)
	}
}

// Connected implements gormsync.Observer.
func (m *Metrics) Connected(transport string, delta int) {
	m.connections.WithLabelValues(transport).Add(float64(delta))
}

// Delivered implements gormsync.Observer.
func (m *Metrics) Delivered(changes, bytes, behind int, lag time.Duration) {
	m.deliveries.Add(float64(changes))
	m.frames.Inc()
	m.bytes.Add(float64(bytes))
	m.behind.Observe(float64(behind))
	m.lag.Observe(lag.Seconds())
}

// Answered implements gormsync.Observer.
func (m *Metrics) Answered(changes, _ int) {
	m.answers.Inc()
	m.answered.Add(float64(changes))
}

// LogRead implements gormsync.Observer.
func (m *Metrics) LogRead(took time.Duration, changes int) {
	m.reads.Observe(took.Seconds())
	m.read.Add(float64(changes))
}

// FellBehind implements gormsync.Observer.
func (m *Metrics) FellBehind() { m.fell.Inc() }

// CaughtUp implements gormsync.Observer.
func (m *Metrics) CaughtUp(int) { m.pages.Inc() }

// Reset implements gormsync.Observer.
func (m *Metrics) Reset(reason string) { m.resets.WithLabelValues(reason).Inc() }

// Closed implements gormsync.Observer.
func (m *Metrics) Closed(code int) { m.closed.WithLabelValues(strconv.Itoa(code)).Inc() }
