#!/bin/sh
# Runs a TypeScript file with the project's own Node (26, from npm); installs the npm packages first when
# they are missing or older than the lockfile. usage: tools/node.sh FILE.ts [ARGS]
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$root/tools/packages.sh"
exec "$node" --disable-warning=ExperimentalWarning "$@"
