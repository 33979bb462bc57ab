"""
Random configurations, and an outsider who tries everything on them: what the open-relay proof is held against.

The outsider shares no thought with the proof: he knows neither chain nor classes. He comes from a few addresses that
stand for large parts of the net, with every reverse-path that he can think of, and sends a message to people whom no
list of recipients names, until one is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

from mailtraq_py.app.config import parse
from mailtraq_py.app.settings import policy_settings
from mailtraq_py.policy.settings import PolicySettings

OURS = "example.test"
MAPPED = "mapped.example"

# Each stands for so many IPv4 /8 networks of public space (for IPv6: /16 networks), which no entry below divides;
# the last one is a single address.
PLACES = {
    "64.77.88.99": 1.0,
    "65.77.88.99": 1.0,
    "203.77.88.99": 1.0,
    "9.77.88.99": 120.0,
    "130.77.88.99": 90.0,
    "198.51.100.7": 1 / (1 << 24),
}
PLACES_IPV6 = {"2a02:77::99": 8000.0}

_ADDRESSES = (
    *("*", "0.0.0.0/1", "128.0.0.0/1", "64.*", "65.0.0.0/8", "203.*.*.*", "198.51.100.7", "192.168.*", "2000::/3"),
    *("~*", "~0.0.0.0/1", "~128.0.0.0-255.255.255.255", "~64.*", "~203.*", "~198.51.100.7", "::1", "mail.example.org"),
)
_SENDERS = (
    *("*", "*@partner.example", "boss@*", "ceo@vip.example", "*@*.example", f"*@{OURS}", f"alice@{OURS}"),
    *("~*", "~*@partner.example", "~boss@*", "~ceo@vip.example"),
)
_RECIPIENTS = (
    *("*", "*@elsewhere.example", "postmaster@*", "*@*.wild.example", "friend@elsewhere.example"),
    *("~*@elsewhere.example", "~postmaster@*"),
)
_KILL = ("@partner.example", "boss@vip.example", "@*.example", f"@{OURS}", "@*")
_ACCEPT = ("partner.example", "ceo@vip.example", "@vip.example")
_FACTS = (
    *("lan", "own", "auth", "privilege:relay", "recent_login", "sender_local_domain", "sender_local_user"),
    *("destination_mapped", "listener:in", "listener:out", "listener:both"),
    *("address_in:places", "sender_in:people", "recipient_in:targets"),
)


class Outsider:
    """What he tries. `send` is given client, reverse-path and recipient, and says whether the message was taken."""

    SENDERS = (
        *("", "q7@other.invalid", "boss@other.invalid", f"alice@{OURS}", f"nobody@{OURS}", f"boss@{OURS}"),
        *("q7@partner.example", "boss@partner.example", "ceo@vip.example", "boss@vip.example", "q7@vip.example"),
    )
    # Whom no list names, and whom only patterns with a wildcard in the domain do.
    RECIPIENTS = ("q7@unlisted.invalid", "postmaster@unlisted.invalid", "q7@a.wild.example")

    def __init__(self, send: Callable[[str, str, str], bool]) -> None:
        self._send = send

    def opens(self) -> bool:
        """Whether more than an IPv4 /8 or an IPv6 /16 of public addresses gets a message through."""
        for places in (PLACES, PLACES_IPV6):
            reached = 0.0
            for client, weight in places.items():
                if any(self._send(client, path, to) for path in self.SENDERS for to in self.RECIPIENTS):
                    reached += weight
                    if reached > 1.0:
                        return True
        return False


def settings_of(text: str) -> PolicySettings:
    """The policy of a configuration's text, on a machine with no address but those of documentation."""
    settings = policy_settings(parse(text, Path("/nowhere/mailtraq.toml")))
    return replace(settings, own_addresses=("192.0.2.1", "127.0.0.1", "::1"), gateways=())


def configurations(seed: int, count: int) -> Iterator[str]:
    """Texts of configurations, the same for the same seed."""
    random = Random(seed)
    for _ in range(count):
        yield _Configuration(random).text()


class _Configuration:
    """Writes one."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def text(self) -> str:
        """All of it."""
        maybe = self._maybe
        lines = ['hostname = "mx.example.test"']
        if maybe(0.3):
            lines.append("[barring]")
            lines += [f"senders = {self._some(_SENDERS, 2)}", f"recipients = {self._some(_RECIPIENTS, 1)}"]
        lines += ["[lan]", f"addresses = {self._some(_ADDRESSES, 2) if maybe(0.4) else []}"]
        lines += ["[[smtp]]", 'name = "test"', 'tls = "none"', 'listen = ["192.0.2.1:25"]']
        lines.append(f'role = "{self._one("mx", "submission", "both")}"')
        listed = ("firewall", "firewall+lan", "firewall+lan+recent", "granted_except", "denied_except")
        lines += [f'access = "{self._one("any", "any", "any", *listed)}"', f"firewall = {self._some(_ADDRESSES, 3)}"]
        lines += [f'refuse = "{self._one("reply", "close")}"', f'recent_position = "{self._one("start", "end")}"']
        lines += ["[smtp.relay]", *self._relay(), "i_know_this_is_an_open_relay = true"]
        lines += self._senders()
        return "\n".join(lines) + "\n"

    def _relay(self) -> list[str]:
        maybe, flag = self._maybe, self._flag
        preset = self._one("mailtraq", "ability", "imail", "custom")
        lines = [f'preset = "{preset}"']
        if preset == "mailtraq":
            lines += [f"auth = {flag()}", f"recent_login = {flag()}", f"outside_lan = {flag()}"]
            lines.append(f"nonlocal_senders = {flag()}")
            if maybe(0.4):
                lines.append(f"always_from = {self._some(_SENDERS, 2)}")
            if maybe(0.4):
                lines.append(f"always_to = {self._some(_RECIPIENTS, 2)}")
        elif preset == "ability":
            lines += [f"outgoing = {flag(0.8)}", f"auth = {flag(0.3)}", f"ip_range_control = {flag()}"]
            lines += [f"ranges = {self._some(_ADDRESSES, 3)}", f"safe = {self._some(_ADDRESSES, 1)}"]
            lines += [f"allow_own = {flag()}", f"block_own = {flag()}"]
        elif preset == "imail":
            lines.append(f'mode = "{self._one("anyone", "addresses", "local_hosts", "local_users", "none")}"')
            lines += [f"addresses = {self._some(_ADDRESSES, 2)}", f"accept = {self._some(_ACCEPT, 2)}"]
            lines.append(f"auth = {flag()}")
        else:
            lines += [f"require = {self._groups(1)}", f"grant = {self._groups(3)}"]
            lines.append(
                f"lists = {{places = {self._some(_ADDRESSES, 2)}, people = {self._some(_SENDERS, 2)},"
                f" targets = {self._some(_RECIPIENTS, 2)}}}"
            )
        return lines

    def _senders(self) -> list[str]:
        maybe, flag = self._maybe, self._flag
        lines = ["[smtp.senders]", f"refuse_null = {flag()}", f"valid_sender = {flag()}"]
        lines += [f'local_sender_from_outside = "{self._one("refuse", "allow")}"', f"verify_return_path = {flag(0.2)}"]
        lines += ["[smtp.helo]", f"refuse_unresolvable = {flag(0.2)}", "[smtp.lists]"]
        for kind, pool in (("addresses", _ADDRESSES), ("senders", _SENDERS), ("recipients", _RECIPIENTS)):
            for colour in ("black", "white"):
                if maybe(0.2):
                    lines.append(f"{colour}_{kind} = {self._some(pool, 2)}")
        if maybe(0.2):
            lines.append('dns_black = ["black.example"]')
        lines += ["[smtp.tarpit]", f"delay_seconds = {self._one('0', '0', '3')}"]
        return lines

    def _groups(self, most: int) -> str:
        """Groups of facts, some of them negated."""
        groups = []
        for _ in range(self._random.randint(0, most)):
            facts = self._random.sample(_FACTS, self._random.randint(1, 2))
            groups.append([f"not {fact}" if self._maybe(0.3) else fact for fact in facts])
        return _toml(groups)

    def _maybe(self, chance: float) -> bool:
        return self._random.random() < chance

    def _flag(self, chance: float = 0.5) -> str:
        return "true" if self._maybe(chance) else "false"

    def _one(self, *words: str) -> str:
        return self._random.choice(words)

    def _some(self, pool: tuple[str, ...], most: int) -> str:
        return _toml([self._random.choice(pool) for _ in range(self._random.randint(0, most))])


def _toml(value: object) -> str:
    return str(value).replace("'", '"')
