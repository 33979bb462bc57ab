#!/usr/bin/env python3
"""What one server needs, held against the better of its peers.  usage: ratios.py RESULTS OURS.json [PEER.json ...]

Medians. A ratio above 1 says that ours is faster, or needs less CPU; the goal is the ratio wanted of the wall time.
"""
import os
import sys

from show import load

TIME, RATE = ("seconds", "server_cpu_s"), ("ops_s", "cpu_s_per_1000")


def big(name, op, count, goal=None, values=TIME, label=None):
    return name, dict(workload="imap-big", op=op, mailbox=count, label=label), values, goal


ROWS = []
for n in (10000, 100000):
    ROWS += [
        big("list, warm", "all-warm", n, 4),
        big("list, after a start", "all-cold", n, 4),
        big("list, never fetched", "all-cold", n, 20, label="first"),
        big("SELECT, never fetched", "select-cold", n, label="first"),
        big("SELECT, after a start", "select-cold", n, 0.5),
        big("SELECT, warm", "select-warm", n, 1),
        big("FETCH 1:* (FLAGS UID), after a start", "flags-cold", n),
        big("FETCH 1:* (FLAGS UID)", "flags-warm", n, 0.8),
        big("STORE 1:* +FLAGS", "store-all", n, 1),
        big("STORE 1:* -FLAGS.SILENT", "store-all-undo", n, 1),
        big("random BODY[]", "body-random", n, 1, RATE),
        big("SEARCH TEXT", "search-text", n),
        big("SEARCH SUBJECT", "search-subject", n, 1),
        big("SEARCH flags and date", "search-flags-date", n, 1),
        big("SORT (REVERSE DATE)", "sort-date", n, 1),
        big("SORT (SUBJECT)", "sort-subject", n, 1),
        big("THREAD REFERENCES", "thread-references", n, 1),
        big("CONDSTORE resync", "condstore-resync", n, 1),
        big("QRESYNC SELECT", "qresync-select", n, 1),
    ]
ROWS += [
    ("mixed, 50 connections", dict(workload="imap-mixed", conns=50), RATE, 1.5),
    ("POP3 drain, 1 connection", dict(workload="pop3-drain", conns=1), RATE, 1),
    ("POP3 drain, 10 connections", dict(workload="pop3-drain", conns=10), RATE, 1),
    ("login, 1 connection", dict(workload="imap-login", conns=1), RATE, None),
    ("login, 10 connections", dict(workload="imap-login", conns=10), RATE, None),
    ("idle, KiB a connection; EXISTS p99 ms", dict(workload="imap-idle"), ("pss_kib_per_conn", "last_p99_ms"), None),
]
KEY = ("workload", "op", "mailbox", "conns", "mode", "size", "label")


def short(value):
    return "" if value is None else "%.3g" % value if value < 100 else "%.0f" % value


def main(folder, servers):
    found = {}
    for server in servers:
        path = os.path.join(folder, server + ".jsonl")
        if os.path.exists(path):
            for key, values in load([path]).items():
                found.setdefault(server, []).append((dict(zip(KEY, key[1:])), values))
    print("| row |", " | ".join(servers), "| times faster | times less CPU | goal |")
    print("|---|" + "---:|" * (len(servers) + 3))
    for name, wanted, (wall, cpu), goal in ROWS:
        name += " %d" % wanted["mailbox"] if "mailbox" in wanted else ""
        cells = []
        for server in servers:
            fits = [v for k, v in found.get(server, ()) if v.get(wall) is not None and all(k[x] == y for x, y in wanted.items())]
            cells.append((fits[0][wall], fits[0].get(cpu)) if fits else None)
        if cells[0] is None:
            continue
        ratios = []
        for part in (0, 1):
            mine, peers = cells[0][part], [c[part] for c in cells[1:] if c and c[part] is not None]
            if not peers or not mine:
                ratios.append("")
            elif part == 0 and wall == "ops_s":
                ratios.append(short(mine / max(peers)))
            else:
                ratios.append(short(min(peers) / mine))
        unit = ("/s; ", " ms") if wall == "ops_s" else (" s; ", " s") if wall == "seconds" else ("; ", "")
        texts = [short(c[0]) + unit[0] + short(c[1]) + unit[1] if c else "" for c in cells]
        print("|", name, "|", " | ".join(texts), "|", " | ".join(ratios), "|", short(goal), "|")


if __name__ == "__main__":
    main(sys.argv[1], [os.path.basename(p).removesuffix(".json") for p in sys.argv[2:]])
