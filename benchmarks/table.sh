#!/bin/bash
# The rows about reading (IMAP and POP3), this project's server and peers in turns, and the ratios.
# usage: table.sh SERVER.json [SERVER.json ...]     the first is held against the better of the others
# PARTS: big10k big100k first10k mixed pop3 login idle (default: all but idle); REPS (default 3): turns
# OUT: folder of the results (default: results/table beside this script); what lies there counts, too
# Every server must be set up (peers/*.sh setup); each runs only while it is its turn.
cd "$(dirname "$0")" || exit 1
parts=${PARTS:-first10k big10k big100k mixed pop3 login}
out=${OUT:-results/table}
mkdir -p "$out"

control() {   # control SERVER.json start|stop: what its config says of "restart", but with this word
  local command
  command=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["restart"])' "$1")
  bash -c "${command/ restart/ $2}" < /dev/null > /dev/null 2>&1
}

run() {   # run SERVER.json PART TURN
  local j=$1 turn=$3 u
  b() { python3 bench.py "$j" "$@" --reps 1 --out "$out/$(basename "$j" .json).jsonl"; }
  fill() { python3 bench.py "$j" populate --user "$1" --count "$2"; }
  case $2 in
    first10k) fill $((910 + turn)) 10000; b imap-big --user $((910 + turn)) --count 10000 --ops cold --label first;;
    big10k) fill 900 10000; b imap-big --user 900 --count 10000 --ops "${OPS:-cold,warm,body,store,search,sort,resync}";;
    big100k) fill 901 100000; b imap-big --user 901 --count 100000 --ops "${OPS:-cold,warm,body,store,sort,resync}";;
    mixed) for u in $(seq 300 349); do fill "$u" 200; done; b imap-mixed --user 300;;
    pop3) b pop3 --user 400;;
    login) b imap-login;;
    idle) b imap-idle --user 500 --n 150;;
  esac > /dev/null
}

for ((turn = 0; turn < ${REPS:-3}; turn++)); do
  for part in $parts; do
    for j in "$@"; do
      echo "== turn $turn $part $(basename "$j" .json) $(date +%T)"
      control "$j" start
      run "$j" "$part" "$turn"
      control "$j" stop
    done
  done
done
python3 ratios.py "$out" "$@"
