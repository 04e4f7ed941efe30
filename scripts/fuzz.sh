#!/usr/bin/env bash
# Runs every fuzz target of the tree FUZZ times (such as 1000000x, or 30s).
set -euo pipefail
cd "$(dirname "$0")/.."

grep --recursive --include='*_test.go' --only-matching --no-messages 'func Fuzz[A-Za-z0-9_]*(f' . | sort |
  while IFS=: read -r file func; do
    target=${func#func }
    target=${target%(f}
    "${GO:-go}" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZ:-1000000x}" "./$(dirname "${file#./}")"
  done
