#!/bin/sh
# Measures how long brokers take to start with a full store, and prints a table.
#
# Usage: tests/bench/restart.sh MOGI NAME=COMMAND [NAME=COMMAND ...]
#
# MOGI is the binary whose `bench` fills the stores. Each COMMAND is a broker that takes
# `-c FILE`, such as mogi=target/release/mogi or stock=/usr/sbin/mosquitto. It gets `persistence
# true` and a folder of its own, and is stopped once properly and once, where its name does not
# begin with `stock`, with SIGKILL. Set RETAINED (1000000) and SESSIONS (100000, with three
# subscriptions each) to fill with less, and TMPDIR to say on which file system.
set -eu

usage() {
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ "$#" -ge 2 ] || usage
bench=$1
shift

dir=$(mktemp -d)
. "$(dirname "$0")/brokers.sh"
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

echo "| filled with | broker | stopped with | ready after ms | RSS MiB | on disk MiB |"
echo "|---|---|---|---|---|---|"
for kind in retained sessions; do
    case $kind in
        retained) items=${RETAINED:-1000000} ;;
        sessions) items=${SESSIONS:-100000} ;;
    esac
    for given in "$@"; do
        signals="TERM KILL"
        case $given in
            stock*) signals=TERM ;;
            *=*) ;;
            *) usage ;;
        esac
        for signal in $signals; do
            restart_case "${given%%=*}" "${given#*=}" "$kind" "$items" "$signal" >"$dir/case"
            awk '{ printf "| %d %s | %s | %s | %d | %.1f empty, %.1f filled, %.1f after | %.1f |\n",
                    $3, $1, $2, $4, $5, $6 / 1024, $7 / 1024, $8 / 1024, $9 / 1024 }' "$dir/case"
        done
    done
done
