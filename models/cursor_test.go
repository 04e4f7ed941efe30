package models_test

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rhtmx/gormsync/models"
)

func txSets() *rapid.Generator[models.TxSet] {
	return rapid.Custom(func(t *rapid.T) models.TxSet {
		s := models.TxSet{Xmax: rapid.Uint64Range(1, 1<<62).Draw(t, "xmax")}
		open := rapid.SliceOfNDistinct(rapid.Uint64Range(0, s.Xmax-1), 0, int(min(s.Xmax, 20)), rapid.ID[uint64]).Draw(t, "xip")
		slices.Sort(open)
		if len(open) > 0 {
			s.Xip = open
		}
		return s
	})
}

func cursors() *rapid.Generator[models.Cursor] {
	return rapid.Custom(func(t *rapid.T) models.Cursor {
		c := models.Cursor{Epoch: rapid.Uint32().Draw(t, "epoch"), From: txSets().Draw(t, "from")}
		if rapid.Bool().Draw(t, "in a batch") {
			c.Batch = &models.Batch{
				To: txSets().Draw(t, "to"), Of: rapid.Uint32().Draw(t, "of"),
				AfterTx: rapid.Int64Min(0).Draw(t, "after tx"), AfterID: rapid.Int64Min(0).Draw(t, "after id"),
				Floor: rapid.Uint64().Draw(t, "floor"),
			}
		}
		if rapid.Bool().Draw(t, "in a snapshot") {
			c.Page = &models.Page{After: rapid.String().Draw(t, "after")}
		}
		for _, entity := range rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "entities") {
			c.Covers = append(c.Covers, models.CoverOf(entity, 0, rapid.Bool().Draw(t, "all"), []string{entity}))
		}
		return c
	})
}

func TestCursorKeepsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := cursors().Draw(t, "cursor")
		for isVersion, text := range map[bool]string{false: c.String(), true: c.Version()} {
			got, v, err := models.ParseCursor(text)
			require.NoError(t, err)
			require.Equal(t, isVersion, v)
			require.Equal(t, c, got)
		}
	})
}

func TestTamperedCursorsAreRefused(t *testing.T) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=!"
	rapid.Check(t, func(t *rapid.T) {
		text := cursors().Draw(t, "cursor").String()
		i := rapid.IntRange(1, len(text)-1).Draw(t, "at")
		letter := letters[rapid.IntRange(0, len(letters)-1).Draw(t, "letter")]
		if text[i] == letter {
			return
		}
		_, _, err := models.ParseCursor(text[:i] + string(letter) + text[i+1:])
		require.ErrorIs(t, err, models.ErrBadCursor)
		_, _, err = models.ParseCursor(text[:i])
		require.ErrorIs(t, err, models.ErrBadCursor)
	})
}

func TestIdleCursorIsShort(t *testing.T) {
	c := models.Cursor{Epoch: 1 << 31, From: models.TxSet{Xmax: 200_000_000}}
	require.LessOrEqual(t, len(c.String()), 24)
	for range 100 {
		c.From.Xip = append(c.From.Xip, 199_000_000+uint64(len(c.From.Xip))*50)
	}
	require.LessOrEqual(t, len(c.String()), 170)
}

func TestZeroCursor(t *testing.T) {
	for _, text := range []string{"", "0"} {
		c, _, err := models.ParseCursor(text)
		require.NoError(t, err)
		require.True(t, c.IsZero())
	}
	for _, text := range []string{"c", "v", "1", "c0", strings.Repeat("c", 1000), "č"} {
		_, _, err := models.ParseCursor(text)
		require.ErrorIs(t, err, models.ErrBadCursor, text)
	}
}

func TestTxSetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := txSets().Draw(t, "a"), txSets().Draw(t, "b")
		limit := rapid.Uint64().Draw(t, "limit")
		both, capped := a.Union(b), a.Cap(limit)
		probes := slices.Concat(a.Xip, b.Xip, []uint64{0, a.Xmax, b.Xmax, a.Xmax - 1, b.Xmax - 1, limit})
		for _, tx := range probes {
			require.Equal(t, a.Has(tx) || b.Has(tx), both.Has(tx), tx)
			require.Equal(t, a.Has(tx) && tx < limit, capped.Has(tx), tx)
		}
	})
}

func TestParseTxSet(t *testing.T) {
	s, err := models.ParseTxSet("10:20:10,14,15")
	require.NoError(t, err)
	require.Equal(t, models.TxSet{Xmax: 20, Xip: []uint64{10, 14, 15}}, s)
	require.Equal(t, "{10,14,15}", s.Array())
	for _, text := range []string{"", "1:2", "1:x:", "1:2:x"} {
		_, err := models.ParseTxSet(text)
		require.Error(t, err, text)
	}
}

func TestEntityID(t *testing.T) {
	require.Equal(t, "a,b%", models.EncodeID("a,b%"))
	require.Equal(t, "a%2Cb%25,1", models.EncodeID("a,b%", "1"))
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.String(), 1, 4).Draw(t, "parts")
		got, err := models.DecodeID(models.EncodeID(parts...), len(parts))
		require.NoError(t, err)
		require.Equal(t, parts, got)
	})
	_, err := models.DecodeID("a,b", 3)
	require.ErrorIs(t, err, models.ErrBadID)
	_, err = models.DecodeID("a%zz,b", 2)
	require.ErrorIs(t, err, models.ErrBadID)
}

func FuzzParseCursor(f *testing.F) {
	f.Add(models.Cursor{Epoch: 7, From: models.TxSet{Xmax: 9, Xip: []uint64{3, 4}}}.String())
	f.Add("0")
	f.Fuzz(func(t *testing.T, text string) {
		c, isVersion, err := models.ParseCursor(text)
		if err != nil {
			require.ErrorIs(t, err, models.ErrBadCursor)
			return
		}
		if c.IsZero() && (text == "" || text == "0") {
			return
		}
		again := c.String()
		if isVersion {
			again = c.Version()
		}
		require.Equal(t, text, again)
	})
}

// FuzzCursorBody gives the decoder what a checksum would keep from it.
func FuzzCursorBody(f *testing.F) {
	for _, c := range []models.Cursor{
		{Epoch: 7, From: models.TxSet{Xmax: 9, Xip: []uint64{3, 4}}},
		{From: models.TxSet{Xmax: 1 << 62}, Batch: &models.Batch{To: models.TxSet{Xmax: 5}, AfterTx: 3, AfterID: 2}, Page: &models.Page{After: "a"}, Covers: []models.Cover{{Entity: 1, Scopes: 2}}},
	} {
		b, err := base64.RawURLEncoding.DecodeString(c.String()[1:])
		require.NoError(f, err)
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		text := "c" + base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(body, crc32.ChecksumIEEE(body)))
		c, _, err := models.ParseCursor(text)
		if err != nil {
			require.ErrorIs(t, err, models.ErrBadCursor)
			return
		}
		require.Equal(t, text, c.String())
	})
}
