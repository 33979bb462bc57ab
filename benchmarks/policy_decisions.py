"""
What a decision of policy costs, from memory and from the store: the figures that docs/performance.md quotes.

    python benchmarks/policy_decisions.py

Measured on one core: a RCPT decision with lists of 10,000 entries (100 of them free wildcard patterns), a CONNECT
decision with a firewall list of 10,000, a look into the recent-login whitelist with 100,000 live rows, its expiry, and
what it costs to note a decision for `mailtraq policy diff` and to write it down.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from mailtraq_py.interfaces.connection import Connection, Protocol, Role
from mailtraq_py.interfaces.directory import Account, Remote
from mailtraq_py.interfaces.policy import Facts, Stage
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import ForwardPath, ReversePath
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.history import DecisionHistory, encode
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.policy.settings import (
    BarringSettings,
    ListsSettings,
    MailtraqRelay,
    PolicySettings,
    RecentLoginSettings,
    ServiceSettings,
    entries,
)
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.store import Store

NOW = 1_800_000_000.0
ENTRIES = 10_000
LIVE_ROWS = 100_000
ROUNDS = 20_000
NOWHERE = ForwardPath(parse_address("nobody@nowhere.example"))


def main() -> None:
    """Measure and print."""
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:{folder}/mail.db", folder, clock=lambda: NOW)
        run_now(store.start())
        run_now(store.administration.add_domain("example.test"))
        run_now(store.administration.add_account("alice@example.test", b"correct horse 9"))
        measure_store(store)
        measure_decisions(store)
        run_now(store.close())


def measure_store(store: Store) -> None:
    """The whitelist."""
    alice = run_now(store.administration.find("alice@example.test"))
    addresses = [f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}" for number in range(LIVE_ROWS)]
    database = store.recent_rows._recent
    began = time.perf_counter()
    for start in range(0, LIVE_ROWS, 500):
        calls = [("write_login", (each, alice.id, "pop3", True, NOW, NOW)) for each in addresses[start : start + 500]]
        database._writer.execute(calls)
    report(f"write a row, {LIVE_ROWS} of them in batches of 500", (time.perf_counter() - began) / LIVE_ROWS)
    recent = RecentLogins(store.recent_rows, RecentLoginRules(RecentLoginSettings(exclude=())), lambda: NOW)
    asked = random.sample(addresses, ROUNDS)
    report(f"find a row among {LIVE_ROWS}", timed(lambda number: recent.find(asked[number], NOW)))
    report(f"find that there is none among {LIVE_ROWS}", timed(lambda number: recent.find(f"10.0.{number}", NOW)))
    began = time.perf_counter()
    removed = run_now(store.recent_rows.expire(NOW + 1, 1000))
    report(f"forget {removed} rows that are old, in one transaction", time.perf_counter() - began)


def measure_decisions(store: Store) -> None:
    """CONNECT and RECIPIENT, with and without the notes for `policy diff`."""
    firewall = ["*"]
    firewall += [f"~10.{number // 256 % 256}.{number % 256}.{number % 200}" for number in range(ENTRIES - 1)]
    senders = [f"user{number}@domain{number % 500}.example" for number in range(ENTRIES - 100)]
    senders += [f"*bulk{number}*@*.example" for number in range(100)]
    patterns = entries(senders)
    service = ServiceSettings(
        "mx",
        role=Role.BOTH,
        access="firewall+lan+recent",
        firewall=entries(firewall),
        relay=MailtraqRelay(auth=True, recent_login=True, always_to=patterns, always_from=patterns),
        lists=ListsSettings(
            black_addresses=entries(firewall[1:]),
            black_senders=patterns,
            white_senders=patterns,
            black_recipients=patterns,
        ),
    )
    settings = PolicySettings(
        "mx.example.test",
        lan=entries(["192.168.*", *firewall[1:]]),
        recent_login=RecentLoginSettings(exclude=()),
        barring=BarringSettings(patterns, patterns),
        services=(service,),
    )
    recent = RecentLogins(store.recent_rows, RecentLoginRules(settings.recent_login), lambda: NOW)
    began = time.perf_counter()
    policy = build_policy(settings, store.directory, None, recent, 1)  # type: ignore[arg-type]
    report("compile the configuration", time.perf_counter() - began)
    history = DecisionHistory(10**9)
    noting = build_policy(settings, store.directory, None, recent, 1, note=history.note)  # type: ignore[arg-type]
    alice = Account(1, "alice@example.test", "example.test")

    def facts(number: int, **more: Any) -> Facts:
        client = f"203.{number % 200}.113.{number % 250}"
        connection = Connection(f"S{number}", "mx", Protocol.SMTP, client, 1, "192.0.2.1", 25, NOW, Role.BOTH)
        path = ForwardPath(parse_address(f"friend{number}@elsewhere{number % 97}.example"))
        sender = ReversePath(parse_address(f"somebody{number}@domain{number % 700}.example"))
        return Facts(connection, NOW, helo="c.example", reverse_path=sender, forward_path=path, **more)

    def destined(one: Facts) -> Facts:
        return replace(one, destination=Remote(one.forward_path or NOWHERE))

    strangers = [destined(facts(number)) for number in range(ROUNDS)]
    authenticated = [destined(facts(number, account=alice)) for number in range(ROUNDS)]
    to_alice = ForwardPath(parse_address("alice@example.test"))
    ours = [replace(one, forward_path=to_alice, destination=None) for one in strangers]
    connect = f"CONNECT, firewall+lan+recent, lists of {ENTRIES}"
    report(connect, timed(lambda number: policy.decide(Stage.CONNECT, strangers[number])))
    kinds = (("a stranger, refused", strangers), ("relayed by AUTH", authenticated), ("a local recipient", ours))
    for name, asked in kinds:
        report(
            f"MAIL, {name}, lists of {ENTRIES}",
            timed(lambda number, asked=asked: policy.decide(Stage.SENDER, asked[number])),
        )
        report(
            f"RCPT, {name}, lists of {ENTRIES}",
            timed(lambda number, asked=asked: policy.decide(Stage.RECIPIENT, asked[number])),
        )
    without = timed(lambda number: policy.decide(Stage.RECIPIENT, authenticated[number]))
    with_notes = timed(lambda number: noting.decide(Stage.RECIPIENT, authenticated[number]))
    report("note a decision (difference of two RCPTs)", max(0.0, with_notes - without))
    taken = history.take()
    began = time.perf_counter()
    rows = encode(taken, lambda client: client)
    report("encode a noted decision, in a thread", (time.perf_counter() - began) / len(taken))
    began = time.perf_counter()
    for start in range(0, len(rows), 2000):
        run_now(store.decisions.write(rows[start : start + 2000]))
    report("write a session's decisions, 2000 in a transaction", (time.perf_counter() - began) / len(rows))


def timed(ask: Callable[[int], Coroutine[Any, Any, Any]]) -> float:
    """Seconds of CPU for one, over ROUNDS different ones."""
    coroutines = [ask(number) for number in range(ROUNDS)]
    began = time.process_time()
    for coroutine in coroutines:
        try:
            coroutine.send(None)
        except StopIteration:
            continue
        raise AssertionError("it waits")
    return (time.process_time() - began) / ROUNDS


def report(what: str, seconds: float) -> None:
    """A line."""
    text = f"{seconds * 1e6:10.1f} us" if seconds < 0.1 else f"{seconds:10.2f} s "
    print(f"{text}  {what}", flush=True)


if __name__ == "__main__":
    main()
