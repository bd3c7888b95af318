#!/usr/bin/env bash
# Three nodes on this machine, until Ctrl-C: an example of a cluster, and something to try.
#
#   deploy/three-node.sh [DIRECTORY]     # data, default ./chainfire-cluster
#
# CHAINFIRE names the binary; by default the release build of this checkout.
set -euo pipefail

root="$(cd "$(dirname "$0")/.." && pwd)"
directory="${1:-chainfire-cluster}"
binary="${CHAINFIRE:-$root/target/release/chainfire}"
if ! [ -x "$binary" ]; then
    echo "three-node.sh: $binary is not there; run 'cargo build --release' first" >&2
    exit 1
fi

cluster=a=127.0.0.1:4612,b=127.0.0.1:4622,c=127.0.0.1:4632
mkdir -p "$directory"
[ -e "$directory/cluster-key.toml" ] || "$binary" keygen --out "$directory"
nodes=()
stop() {
    trap - EXIT INT TERM
    kill -TERM "${nodes[@]}" 2>/dev/null || true
    wait
}
trap stop EXIT INT TERM

port=4610
for name in a b c; do
    "$binary" serve --name "$name" --data-dir "$directory/$name" \
        --listen-client "127.0.0.1:$((port + 1))" \
        --listen-peer "127.0.0.1:$((port + 2))" \
        --listen-http "127.0.0.1:$((port + 3))" \
        --cluster-key "$directory/cluster-key.toml" \
        --initial-cluster "$cluster" &
    nodes+=("$!")
    port=$((port + 10))
done
echo "export CHAINFIRE_CREDENTIALS=$directory/root-credentials.toml"
echo "export CHAINFIRE_ENDPOINTS=127.0.0.1:4611,127.0.0.1:4621,127.0.0.1:4631"
# The first node that ends ends the cluster: this is an example, not a supervisor.
wait -n
