#!/usr/bin/env bash
# koa, express and axum behind one address, on one Redis of their own; Ctrl-C stops all of it.
#
#   examples/node-migration/run.sh [port]      # 3000; the three ports after it are used, too
#
# Needs redis-server, node and npm, and cargo (or AXUM_APP, the example as a program).
set -euo pipefail
cd "$(dirname "$0")"

first=${1:-3000}
export SECRETS=${SECRETS:-a secret for development}
export KOA_PORT=$((first + 1)) EXPRESS_PORT=$((first + 2)) REDIS_PORT=$((first + 3))

[ -n "${NODE_PATH:-}" ] || [ -d node_modules ] || npm ci --ignore-scripts --no-audit --no-fund

data=$(mktemp -d)
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null; wait; rm -rf "$data"' EXIT
trap exit INT TERM

redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --dir "$data" --save '' --loglevel warning &
until (: <"/dev/tcp/127.0.0.1/$REDIS_PORT") 2>/dev/null; do sleep 0.1; done
PORT=$KOA_PORT node koa.js &
PORT=$EXPRESS_PORT node express.js &
if [ -n "${AXUM_APP:-}" ]; then
  PORT=$first "$AXUM_APP" &
else
  PORT=$first cargo run --features redis-store --example node-migration &
fi
# Whichever ends first ends all.
wait -n
