package migrate

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCopyTextKeepsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "text"))
		line := appendCopy(nil, &text)
		require.False(t, strings.ContainsAny(string(line), "\t\n\r"))
		got := parseCopy(line)
		require.NotNil(t, got)
		require.Equal(t, text, *got)
	})
	require.Nil(t, parseCopy(appendCopy(nil, nil)))
}

// Both sides of a copy spell a value in one way, and different values in
// different ones.
func TestCanonical(t *testing.T) {
	for _, c := range []struct{ kind, sqlite, postgres string }{
		{kindBool, "true", "t"},
		{kindNumeric, "1.50", "1.5000"},
		{kindNumeric, "-0.10", "-0.1"},
		{"int4", "007", "7"},
		{kindFloat8, "1e+06", "1000000"},
		{kindFloat4, "0.30000001192092896", "0.3"},
		{kindTimeZoned, "2026-01-02 03:04:05.1+02:00", "2026-01-02 01:04:05.1+00"},
		{kindTimestamp, "2026-01-02 03:04:05", "2026-01-02 03:04:05"},
		{kindJSONB, `{"b":1.0,"a":[1e2]}`, `{"a": [100], "b": 1.0}`},
		{kindPadded, "ab", "ab   "},
		{kindUUID, "6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
		{kindBytes, `\x00FF`, `\x00ff`},
		{"text", " A ", " A "},
	} {
		require.Equal(t, canonical(c.kind, c.sqlite), canonical(c.kind, c.postgres), "%s %s", c.kind, c.sqlite)
	}
	for _, c := range []struct{ kind, a, b string }{
		{kindNumeric, "1.5", "1.51"}, {kindNumeric, "1e400000000", "1e400000001"}, {kindTimeZoned, "2026-01-02 03:04:05+00", "2026-01-02 03:04:05+01"},
		{kindJSONB, `{"a":1}`, `{"a":"1"}`}, {kindJSONB, `[9007199254740993]`, `[9007199254740992]`}, {kindJSON, `{"a": 1}`, `{"a":1}`}, {"text", "a", "a "}, {kindFloat8, "0.1", "0.10000000000000002"},
	} {
		require.NotEqual(t, canonical(c.kind, c.a), canonical(c.kind, c.b), "%s %s", c.kind, c.a)
	}
}

// What SQLite holds for a time, in whatever form, becomes what PostgreSQL takes.
func TestTextForTimes(t *testing.T) {
	for from, want := range map[any]string{
		"2026-01-02 03:04:05.123456789+02:00":                   "2026-01-02 01:04:05.123456+00",
		"2026-01-02T03:04:05Z":                                  "2026-01-02 03:04:05+00",
		"2026-01-02 03:04:05":                                   "2026-01-02 03:04:05+00",
		"2026-01-02":                                            "2026-01-02 00:00:00+00",
		time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Unix():      "2026-01-02 03:04:05+00",
		time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMilli(): "2026-01-02 03:04:05+00",
		"infinity": "infinity",
	} {
		require.Equal(t, want, *textFor(kindTimeZoned, from), "%v", from)
	}
	require.Nil(t, textFor(kindTimeZoned, nil))
	require.Equal(t, "2026-01-02", *textFor(kindDate, "2026-01-02 23:59:59-08:00"))
	require.Equal(t, "true", *textFor(kindBool, int64(1)))
	require.Equal(t, `\x6162`, *textFor(kindBytes, "ab"))
	require.Equal(t, "0.1", *textFor(kindNumeric, 0.1))
	require.Equal(t, "00010203040506070809101112131415", *textFor(kindUUID, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15}))
}
