#!/usr/bin/env bash
# Runs the same scenarios through Mosquitto's tools and through mogi's, against the same broker,
# and compares what they print and how they exit.
#
#   compare-with-stock.sh STOCK_BIN_DIR MOGI [HOST [PORT]]
#
# STOCK_BIN_DIR holds mosquitto_pub, mosquitto_sub and mosquitto_rr (2.1); MOGI is the mogi
# binary. The broker must allow anonymous clients; everything happens below one topic, which is
# cleaned up. Exits with 0 if nothing differs. MOMENT (0.5) is how many seconds a subscriber gets
# before something is published to it.
set -u

if [ $# -lt 2 ]; then
    sed -n '2,12s/^# \{0,1\}//p' "$0"
    exit 2
fi
stock_dir=$1
mogi=$2
host=${3:-localhost}
port=${4:-1883}
moment=${MOMENT:-0.5}
work=$(mktemp -d)
root="compare/$$"
runs=0
export TZ=UTC HOME="$work/user" XDG_CONFIG_HOME="$work/user/config"
mkdir -p "$XDG_CONFIG_HOME"
trap 'rm -rf "$work"' EXIT

# command_of TOOL: the words that start the tool of this side.
command_of() {
    if [ "$side" = stock ]; then
        command=("$stock_dir/mosquitto_$1")
    else
        command=("$mogi" "$1")
    fi
}

# tool TOOL ARGS...: runs it, but not for ever.
tool() {
    command_of "$1"
    shift
    timeout 30 "${command[@]}" "$@"
}

# run NAME TOOL ARGS...: keeps what the tool prints, and its exit code.
run() {
    local name=$1 tool=$2
    shift 2
    tool "$tool" -h "$host" -p "$port" "$@" >"$out/$name" 2>"$out/../$side.err/$name"
    printf '\nexit %s\n' $? >>"$out/$name"
    runs=$((runs + 1))
}

# listen NAME ARGS...: a subscriber in the background. Nothing outside of it shows when it has
# subscribed, since Mosquitto's tools keep what they print to files back; so it gets a moment.
listen() {
    local name=$1
    shift
    run "$name" sub "$@" &
    listener=$!
    sleep "$moment"
}

collect() {
    wait "$listener"
    runs=$((runs + 1))
}

send() {
    tool pub -h "$host" -p "$port" "$@" 2>/dev/null
}

versions_and_qos() {
    local version qos
    for version in 31 311 5; do
        for qos in 0 1 2; do
            local topic="$root/v$version/q$qos"
            listen "flow-$version-$qos" -i "cmp-$$" -V $version -q $qos -t "$topic/#" -v -C 5
            run "pub-$version-$qos" pub -d -i "cmp-pub-$$" -V $version -q $qos -t "$topic/a" -m one
            run "pub-retain-$version-$qos" pub -V $version -q $qos -t "$topic/b" -m two -r
            run "pub-null-$version-$qos" pub -V $version -q $qos -t "$topic/a" -n
            run "pub-repeat-$version-$qos" pub -V $version -q $qos -t "$topic/a" -m x --repeat 2
            collect
            run "retained-$version-$qos" sub -V $version -q $qos -t "$topic/#" -C 1 \
                -F '%t %p %r %q'
            run "debug-$version-$qos" sub -d -i "cmp-$$" -V $version -q $qos -t "$topic/#" -C 1
            send -t "$topic/b" -r -n
        done
    done
}

payload_sources() {
    local topic="$root/source"
    printf 'first\nsecond line\n\nlast\n' >"$work/lines"
    head -c 1000000 /dev/zero | tr '\0' 'z' >"$work/large"
    listen lines -i "cmp-$$" -t "$topic" -q 1 -C 4 -v
    run pub-lines pub -t "$topic" -q 1 -l <"$work/lines"
    collect
    listen stdin -i "cmp-$$" -t "$topic" -C 1
    run pub-stdin pub -t "$topic" -s <"$work/lines"
    collect
    listen large -i "cmp-$$" -t "$topic" -C 1 -F '%l'
    run pub-large pub -t "$topic" -f "$work/large"
    collect
    run pub-file-missing pub -t "$topic" -f "$work/none"
    run pub-stdin-empty pub -t "$topic" -s </dev/null
    seq 500 >"$work/many"
    listen many -i "cmp-$$" -t "$topic" -q 2 -C 500 -N -F '%p '
    # More than 20 in flight are more than a Mosquitto broker keeps.
    run pub-many pub -t "$topic" -q 2 -l -M 20 <"$work/many"
    collect
}

formats() {
    local topic="$root/format" number=0 payload template
    for payload in hello '{"a":27.0,"b":[1,{"c":null}],"d":1e15}' '' 'é"\' 12345678901234567 \
        abcd; do
        send -t "$topic" -r -q 1 -m "$payload" -D publish content-type text/plain \
            -D publish user-property k1 v1 -D publish user-property k2 'v 2' \
            -D publish response-topic re/sp -D publish correlation-data corr \
            -D publish payload-format-indicator 1
        [ -n "$payload" ] || send -t "$topic" -r -m ' '
        while IFS= read -r template; do
            number=$((number + 1))
            run "format-$number" sub -V 5 -t "$topic" -C 1 -F "$template"
            run "format-pretty-$number" sub -V 5 -t "$topic" -C 1 -F "$template" --pretty -N
        done <<'END'
%t|%p|%q|%r|%l|%m|%x|%X
%j
%J
%A|%C|%D|%F|%P|%R|%S
%20t|%-20t|%.3t|%20.3t|%020l|%-5l|
%.2:x|%20.4X|%-20x|%030x|%3x|%-3.1_x|
%10p|%-10p|%010p|%3p|
%f|%d|%10.2f|
a\tb\\\e[0m@@%%
END
        send -t "$topic" -r -n
    done
    for template in '%z' '%' '@' '\' '\q' '%5' '%+5t' '%--5t'; do
        number=$((number + 1))
        run "format-$number" sub -t "$topic" -F "$template"
    done
}

retained() {
    local topic="$root/retained" name
    fill() {
        for name in 1 2 3; do
            send -t "$topic/$name" -r -q 1 -m "payload $name"
        done
    }
    fill
    run retained-all sub -t "$topic/#" -v -C 3
    run retained-filter sub -t "$topic/#" -v -T "$topic/2" -C 2
    run retained-none sub -t "$topic/#" -R -W 1
    run retained-none-5 sub -V 5 -t "$topic/#" -R -W 1
    run retained-never sub -V 5 -t "$topic/#" --retain-handling never -W 1
    run retained-watch sub -t "$topic/#" -w -v -C 3
    run retained-json sub -t "$topic/#" -F '%j' -C 3
    listen retained-only -i "cmp-$$" -t "$topic/#" --retained-only
    send -t "$topic/1" -m fresh
    collect
    run retained-remove sub -t "$topic/#" --remove-retained -v -W 1
    run retained-removed sub -t "$topic/#" -W 1
    fill
    listen retained-published -i "cmp-$$" -V 5 -t "$topic/#" --retain-as-published -C 4 -F '%r'
    send -t "$topic/1" -r -n
    collect
    for name in 2 3; do
        send -t "$topic/$name" -r -n
    done
}

sessions() {
    local topic="$root/session" id="cmp-session-$$"
    run session-make sub -t "$topic" -q 1 -c -i "$id" -E
    run session-pub pub -t "$topic" -q 1 -l <<<$'one\ntwo\nthree'
    run session-get sub -t "$topic" -q 1 -c -i "$id" -C 3
    run session-unsubscribe sub -U "$topic" -c -i "$id" -W 1
    send -t "$topic" -q 1 -m unseen
    run session-empty sub -t "$topic/other" -q 1 -c -i "$id" -W 1
    run session-end sub -t "$topic" -i "$id" -E
    run session-5 sub -V 5 -x 60 -t "$topic" -q 2 -c -i "$id" -E
    send -t "$topic" -q 2 -m kept
    run session-5-get sub -V 5 -x 0 -t "$topic" -q 2 -c -i "$id" -C 1
    run session-no-id sub -t "$topic" -c -E
}

wills() {
    local topic="$root/will" sub_pid
    listen will -i "cmp-$$" -V 5 -t "$topic" -C 1 -q 1 -F '%p %q %r'
    # Killed, so that nobody says goodbye for it.
    command_of sub
    "${command[@]}" -h "$host" -p "$port" -t "$topic/none" --will-topic "$topic" \
        --will-payload gone --will-qos 1 -i "cmp-will-$$" -d >"$work/will.out" 2>/dev/null &
    sub_pid=$!
    sleep "$moment"
    kill -KILL "$sub_pid"
    wait "$sub_pid" 2>/dev/null
    collect
}

requests() {
    local topic="$root/rr" version
    for version in 311 5; do
        listen "request-$version" -i "cmp-$$" -V 5 -t "$topic/q" -C 1 -F '%t %p [%R] [%D]'
        run "rr-$version" rr -V $version -t "$topic/q" -e "$topic/a" -m question -v -W 10 &
        requester=$!
        collect
        for _ in $(seq 50); do
            send -t "$topic/a" -m answer
            kill -0 "$requester" 2>/dev/null || break
            sleep 0.1
        done
        wait "$requester"
        runs=$((runs + 1))
    done
    run rr-debug rr -t "$topic/q" -e "$topic/q" -m question -d -i rr-debug
    run rr-timeout rr -t "$topic/q" -e "$topic/a" -m question -W 1
    run rr-correlation rr -t "$topic/q" -e "$topic/a" -n -W 1 -D publish correlation-data c
}

options() {
    local topic="$root/options"
    printf '# a comment\n-q 1\n-i cmp-file-%s\n' $$ >"$XDG_CONFIG_HOME/mosquitto_pub"
    run options-file pub -d -t "$topic" -m x
    run options-override pub -d -t "$topic" -m x -q 0
    rm "$XDG_CONFIG_HOME/mosquitto_pub"
    printf -- '-d\n-V mqttv5\n' >"$work/options"
    run options-explicit pub -i "cmp-$$" -t "$topic" -m x -o "$work/options"
    run options-twice pub -t "$topic" -m x -o "$work/options" -o "$work/options"
    run options-url pub -d -i "cmp-$$" -m x -L "mqtt://$host:$port/$topic"
    run options-url-topic pub -m x -L "mqtt://$host:$port"
    run options-url-scheme pub -m x -L "http://$host:$port/$topic"
    run options-bind pub -t "$topic" -m x -A 127.0.0.1
    run options-bind-wrong pub -t "$topic" -m x -A 203.0.113.1
    run options-nodelay pub -t "$topic" -m x --nodelay --no-tls -k 5 -M 1 -q 1
    run options-quiet pub -t "$topic" -m x --quiet
    run options-refused pub -t "$topic" -m x -p 1
    run options-lookup pub -t "$topic" -m x -h nosuch.invalid
    run options-unix pub -t "$topic" -m x --unix "$work/no-socket"
}

usage() {
    local number=0 line
    while IFS= read -r line; do
        number=$((number + 1))
        # The words of a line are the arguments.
        # shellcheck disable=SC2086
        run "usage-$number" $line
    done <<'END'
sub
sub -t
sub --foo
sub topic
sub -t a#
sub -t a -q 3
sub -t a -k 4
sub -t a -V 6
sub -t a -x abc
sub -t a -x 4294967296
sub -t a -C 0
sub -t a -W 0
sub -t a -c
sub -t a -i x -I y
sub -t a -R --retained-only
sub -t a --random-filter 0
sub -t a --will-payload x
sub -t a --will-retain
sub -t a --will-topic #
sub -t a -P x
sub -t a -T b#
sub -U b#
sub -t a --retain-handling x
sub -t a -M 0
sub -t a -l
pub -t a/# -m x
pub -t a -m x -n
pub -t a -m x --repeat 0
pub -t a -m x --repeat-delay -1
pub -t a -m x -D
pub -t a -m x -D publish
pub -t a -m x -D bogus content-type x
pub -t a -m x -D publish bogus x
pub -t a -m x -D connect content-type x
pub -t a -m x -D puback reason-string x
pub -t a -m x -D publish topic-alias 65536
pub -t a -m x -D publish user-property k
pub -t a -m x -x -1
rr -t a -m x
rr -t a -e b
rr -t a -e b/# -m x
rr -t a -e b -m x -c
rr -t a -e b -l
END
}

for side in stock mogi; do
    out="$work/$side"
    mkdir -p "$out" "$work/$side.err"
    for scenario in versions_and_qos payload_sources formats retained sessions wills requests \
        options usage; do
        $scenario
    done
    # Times, program names, ids the broker makes: these may differ.
    sed -E -i \
        -e 's/20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+[+-][0-9]{4}/TIME/g' \
        -e 's/auto-[0-9A-F-]{36}/AUTO/g' \
        -e 's/mosq-[0-9A-Za-z]{18}/MOSQ/g' "$out"/*
done

different=0
for file in "$work"/stock/*; do
    name=${file##*/}
    if ! diff -u --label "stock $name" --label "mogi $name" "$file" "$work/mogi/$name"; then
        different=$((different + 1))
        diff -u --label "stock $name (errors)" --label "mogi $name (errors)" \
            "$work/stock.err/$name" "$work/mogi.err/$name"
    fi
done
echo "$((runs / 2)) runs of each, $(find "$work/stock" -type f | wc -l) compared, $different differ"
[ "$different" -eq 0 ]
