# What the scripts that measure durable brokers share; sourced, not run. Expects `bench`, the
# binary with the load generator, and `dir`, a folder on the file system to measure.

pids=

# Ends a broker with a signal and waits until it is gone: stop_one PID SIGNAL
stop_one() {
    kill "-$2" "$1" 2>/dev/null || :
    wait "$1" 2>/dev/null || :
    others=
    for other in $pids; do
        # Its number may soon be somebody else's.
        [ "$other" = "$1" ] || others="$others $other"
    done
    pids=$others
}

stop() {
    for running in $pids; do
        stop_one "$running" TERM
    done
}

# A free port below those the system gives to clients, which come and go by the thousand.
free_port() {
    python3 -c 'import random, socket
while True:
    try:
        s = socket.socket()
        s.bind(("127.0.0.1", random.randrange(20000, 32000)))
        print(s.getsockname()[1])
        break
    except OSError:
        pass'
}

# Writes the configuration of a broker: configure NAME PORT KIND, where KIND is `lasting` for
# state on disk or `memory`. Nothing is capped, so that nothing is dropped; a subscriber may have
# $inflight messages unacknowledged (20).
configure() {
    {
        echo "listener $2 127.0.0.1"
        echo "allow_anonymous true"
        echo "user root"
        echo "log_type error"
        echo "log_type warning"
        echo "max_queued_messages 0"
        echo "max_queued_bytes 0"
        echo "max_inflight_messages ${inflight:-20}"
        if [ "$3" = lasting ]; then
            mkdir -p "$dir/$1.data"
            echo "persistence true"
            echo "persistence_location $dir/$1.data/"
        fi
    } >"$dir/$1.conf"
}

# Starts a configured broker and waits until it accepts a client: launch NAME PORT COMMAND.
# Leaves its id in $pid and the milliseconds it took in $took_ms.
launch() {
    began=$(date +%s%N)
    # Unquoted on purpose: the command may carry arguments.
    $3 -c "$dir/$1.conf" >>"$dir/$1.log" 2>&1 &
    pid=$!
    until "$bench" bench connect -n 1 -d 0 -h 127.0.0.1 -p "$2" >/dev/null 2>&1; do
        if ! kill -0 "$pid" 2>/dev/null; then
            echo "$1 did not start:" >&2
            cat "$dir/$1.log" >&2
            return 1
        fi
        sleep 0.01
    done
    took_ms=$((($(date +%s%N) - began) / 1000000))
    pids="$pids $pid"
}

# The resident set of a process, in KiB.
rss_kib() {
    awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"
}

# What a folder takes, in KiB: disk_kib DIR
disk_kib() {
    du -sk "$1" | cut -f 1
}

# Fills a store, restarts its broker and tells how long that takes:
# restart_case NAME COMMAND KIND ITEMS SIGNAL. Prints one line of blank-separated words:
# kind, name, items, signal, milliseconds, RSS in KiB when empty, when filled, and after the
# restart, and the KiB on disk.
restart_case() {
    name=restart-$1-$3-$5
    port=$(free_port)
    configure "$name" "$port" lasting
    launch "$name" "$port" "$2"
    empty=$(rss_kib "$pid")
    case $3 in
        retained) set -- "$@" retained --rounds 0 --keep -q 1 --window 1000 ;;
        sessions) set -- "$@" sessions --filters 3 ;;
    esac
    broker=$1 kind=$3 items=$4 signal=$5 command=$2
    shift 5
    "$bench" bench "$@" --items "$items" -h 127.0.0.1 -p "$port" -t fill >"$dir/$name.json" ||
        return 1
    filled=$(rss_kib "$pid")
    stop_one "$pid" "$signal"
    launch "$name" "$port" "$command"
    echo "$kind $broker $items $signal $took_ms $empty $filled $(rss_kib "$pid")" \
        "$(disk_kib "$dir/$name.data")"
    stop_one "$pid" TERM
    rm -rf "$dir/$name.data"
}
