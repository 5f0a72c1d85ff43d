#!/bin/sh
# Measures brokers beside each other and prints the table of docs/performance.md.
#
# Usage: tests/bench/compare.sh MOGI NAME=COMMAND [NAME=COMMAND ...] [-- SUITE-OPTIONS]
#
# MOGI is the binary whose `bench suite` measures. Each COMMAND is a broker that takes
# `-c FILE`, such as stock=/usr/sbin/mosquitto or mogi=target/release/mogi; the first is what
# the others are compared with. Each gets the same configuration and a free port of its own.
set -eu

if [ "$#" -lt 2 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi

bench=$1
shift
dir=$(mktemp -d)
# A broker started by root may give its rights up, and still has to read its configuration.
chmod 755 "$dir"
pids=
trap 'for pid in $pids; do kill "$pid" 2>/dev/null || :; done; rm -rf "$dir"' EXIT INT TERM

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

brokers=
while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
    name=${1%%=*}
    command=${1#*=}
    shift
    port=$(free_port)
    printf 'listener %s 127.0.0.1\nallow_anonymous true\nlog_type error\n' "$port" >"$dir/$name.conf"
    # Unquoted on purpose: the command may carry arguments.
    $command -c "$dir/$name.conf" >"$dir/$name.log" 2>&1 &
    pid=$!
    pids="$pids $pid"
    sleep 1
    if ! kill -0 "$pid" 2>/dev/null; then
        echo "$name did not start:" >&2
        cat "$dir/$name.log" >&2
        exit 1
    fi
    brokers="$brokers --broker $name=$pid:$port"
done
[ "$#" -eq 0 ] || shift

# Unquoted on purpose: one word each.
"$bench" bench suite $brokers "$@"
