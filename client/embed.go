// Package client holds the browser client: its TypeScript source in src, and
// the built bundle, which the handlers serve at /sync/client.js.
package client

import (
	"crypto/sha256"
	_ "embed" // for the bundle
	"encoding/base64"
)

//go:embed dist/client.js
var script string

var etag = makeETag()

// Script is the client for a plain script tag: JavaScript in UTF-8, minified.
// It tells where the routes are mounted from its own address, so it has to be
// served at …/sync/client.js.
func Script() []byte { return []byte(script) }

// ETag is a strong entity tag of Script, with its quotes: another script has
// another tag, the same script the same one on every server.
func ETag() string { return etag }

func makeETag() string {
	sum := sha256.Sum256([]byte(script))
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
}
