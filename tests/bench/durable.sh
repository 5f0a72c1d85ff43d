#!/bin/sh
# Measures what durability costs: one broker that keeps its state on disk beside the same one
# that keeps it in memory and beside Mosquitto with `persistence true`, and prints the table of
# docs/performance.md with the goals.
#
# Usage: tests/bench/durable.sh MOGI STOCK
#
# MOGI and STOCK are the binaries. All state is below TMPDIR: set it to say which file system is
# meant. ROUNDS (3) is how often each load is measured, the brokers taking turns; ITEMS (100000)
# how long the offline queue gets, CYCLES (20) how often it is filled and drained for the row
# about the disk; RETAINED (1000000) and SESSIONS (100000) what the restarts find; ONLY a
# regular expression for the names of loads, for less than everything.
set -eu

usage() {
    sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ "$#" -eq 2 ] || usage
bench=$1
stock=$2
rounds=${ROUNDS:-3}
items=${ITEMS:-100000}

dir=$(mktemp -d)
results=$dir/results
mkdir "$results"
. "$(dirname "$0")/brokers.sh"
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

wanted() {
    echo "$1" | grep -Eq "${ONLY:-.}"
}

start_all() {
    for name in stock memory durable; do
        command=$bench kind=lasting
        case $name in
            stock) command=$stock ;;
            memory) kind=memory ;;
        esac
        port=$(free_port)
        configure "$name" "$port" "$kind"
        launch "$name" "$port" "$command"
        eval "${name}_at='-h 127.0.0.1 -p $port --broker-pid $pid'"
    done
}

stop_all() {
    stop
    rm -rf "$dir/stock.data" "$dir/durable.data"
}

# One run of a load against one broker: run LOAD ROUND NAME ARGUMENTS...
run() {
    eval "at=\$${3}_at"
    out=$results/$1.$3.$2.json
    echo "$1: round $2 of $rounds, $3" >&2
    shift 3
    # Unquoted on purpose: one word each.
    if ! "$bench" bench "$@" $at >"$out" 2>"$out.log"; then
        echo "failed: $*: $(cat "$out.log")" >&2
        rm -f "$out"
    fi
}

# A load against all three, in turns, from a fresh start: load NAME ARGUMENTS...
load() {
    wanted "$1" || return 0
    what=$1
    shift
    start_all
    for round in $(seq "$rounds"); do
        for broker in stock memory durable; do
            run "$what" "$round" "$broker" "$@"
            if [ "$what" = single-away ] && [ "$broker" = durable ]; then
                "$bench" bench disk -d 3 --data-dir "$dir/durable.data" \
                    >"$results/disk.disk.$round.json"
            fi
        done
    done
    stop_all
}

# What a subscriber may have unacknowledged: 20 is what both brokers come with.
inflight=100
load offline offline -q 1 --items "$items" --window 100
load pairs-lasting-100 pairs -q 1 --persistent -d 3
inflight=20
load offline-20 offline -q 1 --items "$items" --window 100
load offline2 offline -q 2 --items "$items"
load pairs-lasting pairs -q 1 --persistent -d 3
load pairs pairs -q 1 -d 3
load single-away pingpong -q 1 --persistent --away -d 3
load single-online pingpong -q 1 --persistent -d 3

if wanted churn; then
    start_all
    run churn 1 durable offline -q 1 --items "$items" --cycles "${CYCLES:-20}" --hold 1 \
        --data-dir "$dir/durable.data"
    stop_all
fi

for kind in retained sessions; do
    wanted "restart-$kind" || continue
    case $kind in
        retained) count=${RETAINED:-1000000} ;;
        sessions) count=${SESSIONS:-100000} ;;
    esac
    for case in "stock $stock TERM" "durable $bench TERM" "durable $bench KILL"; do
        echo "restart with $count $kind: $case" >&2
        # Unquoted on purpose: name, binary, signal.
        set -- $case
        restart_case "$1" "$2" "$kind" "$count" "$3" >>"$results/restart" ||
            echo "failed: restart with $kind: $case" >&2
        stop
    done
done

python3 "$(dirname "$0")/durable_table.py" "$results"
