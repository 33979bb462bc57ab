#!/bin/bash
# This project's server.  usage: ours.sh setup|start|stop|restart
# BENCH_WORKERS: how many processes serve (default: 1)
# MAILTRAQ_BIN: folder of the installed `mailtraq` and `twistd` (default: .venv/bin of this checkout)
. "$(dirname "$0")/lib.sh"
name=ours; d=$BENCH_BASE/$name
smtp=$((3525 + PORT_SHIFT)) imap=$((3143 + PORT_SHIFT)) pop3=$((3110 + PORT_SHIFT))
bin=${MAILTRAQ_BIN:-$HERE/../../.venv/bin}
setup() {
  rm -rf "$d"; mkdir -p "$d"
  cat > "$d/mailtraq.toml" <<C
hostname = "mx.$DOMAIN"
data_dir = "data"
workers = ${BENCH_WORKERS:-1}
[store]
url = "sqlite:data/mailtraq.db"
[[smtp]]
name = "mx"
role = "mx"
listen = ["127.0.0.1:$smtp"]
tls = "none"
max_connections = 5000
max_connections_per_address = 5000
[[pop3]]
name = "pop3"
listen = ["127.0.0.1:$pop3"]
tls = "none"
auth_without_tls = "loopback"
max_connections = 5000
max_connections_per_address = 5000
[[imap]]
name = "imap"
listen = ["127.0.0.1:$imap"]
tls = "none"
auth_without_tls = "loopback"
max_connections = 5000
max_connections_per_address = 5000
C
  "$bin/mailtraq" domain add "$DOMAIN" --config "$d/mailtraq.toml"
  users | sed "s|.*|&@$DOMAIN $PASSWORD|" | "$bin/mailtraq" account add --from-stdin --config "$d/mailtraq.toml"
  cat > "$BENCH_BASE/$name.json" <<C
{"name": "$name", "smtp": $smtp, "imap": $imap, "pop3": $pop3, "users": "u%04d@$DOMAIN", "password": "$PASSWORD",
 "cgroup": "$(group_of "$name")", "visible": "imap", "hash": "argon2id", "store": ["$d/data"], "pidfiles": ["$d/twistd.pid"],
 "restart": "PORT_SHIFT=$PORT_SHIFT $HERE/ours.sh restart"}
C
}
start() {
  need_free_ports "$smtp" "$imap" "$pop3"
  ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
  in_group "$name" "$bin/twistd" --pidfile "$d/twistd.pid" --logfile "$d/log" mailtraq --config "$d/mailtraq.toml"
  wait_port "$smtp" "$imap" "$pop3"
}
stop() {
  [ -f "$d/twistd.pid" ] && kill "$(cat "$d/twistd.pid")" 2>/dev/null
  sleep 1
  stop_group "$name"
}
case $1 in setup) setup;; start) start;; stop) stop;; restart) stop; start;; esac
