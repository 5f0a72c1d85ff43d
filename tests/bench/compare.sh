#!/bin/sh
# Measures brokers beside each other and prints the table of docs/performance.md.
#
# Usage: tests/bench/compare.sh MOGI NAME=COMMAND [NAME=COMMAND ...] [-- SUITE-OPTIONS]
#
# MOGI is the binary whose `bench suite` measures. Each COMMAND is a broker that takes
# `-c FILE`, such as stock=/usr/sbin/mosquitto or mogi=target/release/mogi; the first is what
# the others are compared with. All get the same configuration, with a free port of their own,
# and start afresh for each load of which the memory counts: memory once freed is used again.
# One named limit may be limit='MOGI bench floor': the system calls alone. INFLIGHT sets
# max_inflight_messages for all of them (20).
set -eu

usage() {
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ "$#" -ge 2 ] || usage
bench=$1
shift

# What stands before `--` are brokers; the rest stays in "$@".
commands=
while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
        *=*) commands="$commands$1
" ;;
        *) usage ;;
    esac
    shift
done
[ "$#" -eq 0 ] || shift

dir=$(mktemp -d)
# A broker started by root may give its rights up, and still has to read its configuration.
chmod 755 "$dir"
pids=

stop() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null || :
        wait "$pid" 2>/dev/null || :
    done
    pids=
}
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

free_port() {
    python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

# Starts every broker, and leaves the options that name them in $brokers.
start() {
    brokers=
    while IFS='=' read -r name command; do
        [ -n "$name" ] || continue
        port=$(free_port)
        {
            echo "listener $port 127.0.0.1"
            echo "allow_anonymous true"
            echo "log_type error"
            echo "max_inflight_messages ${INFLIGHT:-20}"
        } >"$dir/$name.conf"
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
    done <<END
$commands
END
}

# Runs the lines of the table that the options choose, without the table's head.
part() {
    start
    # Unquoted on purpose: one word each.
    "$bench" bench suite $brokers "$@" >"$dir/table"
    stop
    [ -s "$dir/head" ] || { head -n 2 "$dir/table" | tee "$dir/head"; }
    tail -n +3 "$dir/table"
}

case " $* " in
    *" --only "*)
        part "$@"
        exit
        ;;
esac
part --without "wildcard filters" --without retained --without "idle connection" "$@"
part --only "wildcard filters" "$@"
part --only retained "$@"
part --only "idle connection" "$@"
