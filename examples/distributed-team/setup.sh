#!/usr/bin/env bash
# Makes the token database of the example: one token for each role, and says what comes next.
#
# Run it in the folder that is to be the central server's, with its .env there:
#   cp examples/distributed-team/.env.example .env     (put real values in)
#   examples/distributed-team/setup.sh
#
# BIN is the program (default ./tokenomics.pyz), PROXY_HOST and PROXY_PORT what clients will use.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${BIN:-./tokenomics.pyz}
host=${PROXY_HOST:-localhost}
port=${PROXY_PORT:-8443}

fail() {
    echo "setup.sh: $*" >&2
    exit 1
}

[ -x "$bin" ] || fail "there is no program at $bin; set BIN to the path of tokenomics.pyz"
if [ -f .env ]; then
    set -a
    # shellcheck disable=SC1091
    source ./.env
    set +a
fi
[ -n "${TOKENOMICS_HASH_KEY:-}" ] || fail "TOKENOMICS_HASH_KEY is not set; is there a .env here?"

for pair in central-config.yaml:config.yaml providers.yaml:providers.yaml; do
    [ -e "${pair#*:}" ] && fail "${pair#*:} is here already; run this in an empty folder"
    cp "$here/${pair%:*}" "${pair#*:}"
done

create() {
    echo "--- $1"
    "$bin" --quiet token create --policy "@$here/policies/$1.json" --expires "$2" --name "$1"
}
create lead-engineer 1y
create developer 90d
create contractor 30d
create ci-pipeline 1y

cat <<END
The tokens above are shown this once. Next:

  1. Start the central server here:
       $bin remote --addr :9090 --api-key "\$TOKENOMICS_REMOTE_KEY"
  2. On each proxy, in a folder of its own with the same .env:
       cp $here/proxy-config.yaml config.yaml
       cp $here/providers.yaml .
       $bin serve
  3. Everyone who has a token:
       eval \$($bin init --token tkn_... --host $host --port $port --insecure)
  4. Later, here:
       $bin token list
       $bin token update --name developer --expires 180d
       $bin token delete --name contractor
END
