#!/usr/bin/env bash
# Debian's mosquitto_pub, mosquitto_sub and mosquitto_rr through the broker.
#
# Every case prints `ok N - name` or `not ok N - name`, and the last line is `1..N`.
# MQTT_TOOLS is the tools' folder, if they are not those of the PATH.
set -u

patience=20
count=0
failures=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
[ -z "${MQTT_TOOLS:-}" ] || PATH="$MQTT_TOOLS:$PATH"

at=(-h "${MQTT_HOST:-127.0.0.1}" -p "$MQTT_PORT")
case "${MQTT_SCHEME:-mqtt}" in
  mqtts) at+=(--cafile "$MQTT_CAFILE") ;;
  unix) at=(--unix "$MQTT_SOCKET") ;;
esac
pub() { timeout "$patience" mosquitto_pub "${at[@]}" "$@"; }
sub() { timeout "$patience" mosquitto_sub "${at[@]}" "$@"; }
rr() { timeout "$patience" mosquitto_rr "${at[@]}" "$@"; }

# listen NAME ARGUMENTS...: starts a subscriber, and waits until it is subscribed.
listen() {
  local name=$1 deadline=$((SECONDS + patience))
  shift
  # What an earlier case left there is not ours.
  rm -f "$dir/$name.log"
  stdbuf -oL mosquitto_sub "${at[@]}" -d -W "$patience" "$@" > "$dir/$name.log" 2>&1 &
  listener=$!
  until grep -qs '^Subscribed (mid' "$dir/$name.log"; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      echo "$name is not subscribed"
      return 1
    fi
    sleep 0.02
  done
}

# heard NAME: waits for the subscriber started last to end by itself; its messages are in $heard.
# Debug lines stand between them.
heard() {
  wait "$listener" || { echo "exit code $? of the subscriber"; cat "$dir/$1.log"; return 1; }
  heard=$(grep -v -e '^Client ' -e '^Subscribed (mid' "$dir/$1.log")
}

# same EXPECTED ACTUAL
same() {
  [ "$1" = "$2" ] && return 0
  echo "expected: ${1:0:200}"
  echo "actual:   ${2:0:200}"
  return 1
}

# check NAME FUNCTION ARGUMENTS...
check() {
  local name=$1 output
  shift
  count=$((count + 1))
  if output=$("$@" 2>&1); then
    echo "ok $count - mosquitto tools: $name"
  else
    failures=$((failures + 1))
    echo "not ok $count - mosquitto tools: $name"
    echo "$output" | sed 's/^/# /'
  fi
}

live_message() { # VERSION QOS
  listen live -V "$1" -q "$2" -t "live/+" -C 1 -F 'message %t %q %r %p' || return 1
  pub -V "$1" -q "$2" -t live/topic -m hello || return 1
  heard live && same "message live/topic $2 0 hello" "$heard"
}

retained() { # VERSION
  pub -V "$1" -t retained/a -m kept -r -q 1 || return 1
  same "retained/a 1 kept" "$(sub -V "$1" -t retained/a -C 1 -F '%t %r %p')" || return 1
  pub -V "$1" -t retained/a -n -r -q 1 || return 1
  pub -V "$1" -t retained/b -m left -r -q 1 || return 1
  same "retained/b left" "$(sub -V "$1" -t 'retained/#' -C 1 -v)"
}

stored() { # VERSION QOS
  local durable=(-V "$1" -i "tool-$1-$2" -q "$2" -t "stored/$1/$2" -c)
  [ "$1" != 5 ] || durable+=(-x 3600)
  sub "${durable[@]}" -E || return 1
  for n in 1 2 3; do
    pub -V "$1" -q "$2" -t "stored/$1/$2" -m "message $n" || return 1
  done
  same $'message 1\nmessage 2\nmessage 3' "$(sub "${durable[@]}" -C 3)"
}

lines() { # QOS
  listen lines -q "$1" -t lines -C 1000 || return 1
  seq 1000 | pub -q "$1" -t lines -l || return 1
  heard lines && same "$(seq 1000)" "$heard"
}

large() { # QOS
  head -c 1000000 /dev/zero | tr '\0' x > "$dir/large"
  listen large -q "$1" -t large -C 1 || return 1
  pub -q "$1" -t large -f "$dir/large" || return 1
  heard large && same 1000000 "$(printf %s "$heard" | tr -cd x | wc -c)"
}

will() { # VERSION
  listen will -V "$1" -t will -C 1 -q 1 -v || return 1
  local watcher=$listener
  listen dying -V "$1" -t nothing -i dying \
    --will-topic will --will-payload farewell --will-qos 1 || return 1
  kill -KILL "$listener"
  wait "$listener" 2> /dev/null
  listener=$watcher
  heard will && same "will farewell" "$heard"
}

request_response() { # VERSION
  listen server -V 5 -t question -C 1 -F '%R %D %p' || return 1
  rr -V "$1" -t question -e answer/here -m 'how much?' -D publish correlation-data 7 \
    > "$dir/asker" &
  local asker=$!
  heard server && same "answer/here 7 how much?" "$heard" || return 1
  pub -t answer/here -m much || return 1
  wait "$asker" || return 1
  same much "$(cat "$dir/asker")"
}

properties() {
  listen props -V 5 -t props -q 1 -C 1 -F '%C|%D|%F|%R|%P|%p' || return 1
  pub -V 5 -q 1 -t props -m text \
    -D publish content-type text/plain -D publish correlation-data id-1 \
    -D publish payload-format-indicator 1 -D publish response-topic answer/here \
    -D publish user-property name1 value1 -D publish user-property name2 value2 || return 1
  heard props && same "text/plain|id-1|1|answer/here|name1:value1 name2:value2|text" "$heard"
}

json() {
  listen json -V 5 -t json -q 2 -C 1 -F '%j' || return 1
  pub -V 5 -q 2 -t json -m '{"a":1}' -D publish user-property k v || return 1
  heard json && printf %s "$heard" | python3 -c '
import json, sys
message = json.loads(sys.stdin.read())
assert message["topic"] == "json" and message["qos"] == 2, message
assert message["payload"] == "{\"a\":1}" and message["payloadlen"] == 7, message
'
}

shared() {
  local pids=() n
  for n in 1 2; do
    listen "member$n" -V 5 -q 1 -t '$share/team/tasks' -C 50 -F 'task %p' || return 1
    pids+=("$listener")
  done
  seq 100 | pub -V 5 -q 1 -t tasks -l || return 1
  wait "${pids[@]}" || return 1
  same "$(seq 100)" "$(sed -n 's/^task //p' "$dir"/member[12].log | sort -n)"
}

two_topics() {
  listen both -t one -t two/# -T two/skip -C 2 -v || return 1
  pub -t two/skip -m no && pub -t two/x -m yes && pub -t one -m also || return 1
  heard both && same $'two/x yes\none also' "$heard"
}

system_topics() {
  local version
  version=$(sub -t '$SYS/broker/version' -C 1) || return 1
  [ -n "$version" ] || return 1
  sub -t '$SYS/broker/uptime' -C 1 | grep -q ' seconds$'
}

for version in 31 311 5; do
  for qos in 0 1 2; do
    check "a live message, -V $version -q $qos" live_message "$version" "$qos"
  done
  check "retained messages, -V $version" retained "$version"
  for qos in 1 2; do
    check "messages for an absent subscriber, -V $version -q $qos" stored "$version" "$qos"
  done
  check "a will, -V $version" will "$version"
done
for qos in 0 1 2; do
  check "1000 lines from standard input, -q $qos" lines "$qos"
  check "a file of 1 MB, -q $qos" large "$qos"
done
check "request and response with mosquitto_rr" request_response 5
check "properties of MQTT 5.0" properties
check "JSON output" json
check "a shared subscription" shared
check "several topics, one filtered out" two_topics
check "the broker's own topics" system_topics
echo "1..$count"
exit $((failures > 0))
