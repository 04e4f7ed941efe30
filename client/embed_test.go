package client_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/client"
)

func TestScriptIsTheBuiltBundle(t *testing.T) {
	built, err := os.ReadFile("dist/client.js")
	require.NoError(t, err)
	require.Equal(t, string(built), string(client.Script()))
	require.Contains(t, string(built), "data-entities", "the bundle names the attribute it reads")
}

func TestScriptIsNotShared(t *testing.T) {
	client.Script()[0] = '!'
	require.NotEqual(t, byte('!'), client.Script()[0])
}

func TestScriptIsSmall(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(client.Script())
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Less(t, packed.Len(), 8*1024, "bytes gzip: the README promises that the client is small")
}

func TestETagIsStrong(t *testing.T) {
	require.Regexp(t, `^"[A-Za-z0-9_-]{24}"$`, client.ETag())
}
