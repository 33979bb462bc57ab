"""
What policy is built from: the configuration's switches as frozen values, entries as text with their origin.

Nothing is judged here but types; `build.py` compiles entries and collects every error. Names and defaults are those
of the configuration file, so that whoever reads the file fills these classes key by key. The relay table is one class
per preset, because the presets share no options.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mailtraq_py.interfaces.connection import Protocol, Role

LIST_MAX_OCTETS = 64 * 1024 * 1024
LIST_MAX_LINES = 1_000_000
LIST_LINE_MAX = 1000

ROLES: Mapping[str, Role] = {
    "mx": Role.MX,
    "in": Role.MX,
    "submission": Role.SUBMISSION,
    "out": Role.SUBMISSION,
    "both": Role.BOTH,
}
ACCESS_MODES = ("any", "firewall", "firewall+lan", "firewall+lan+recent", "granted_except", "denied_except")
RECENT_POSITIONS = ("start", "end")
REFUSALS = ("reply", "close")
PLAINTEXT_RULES = ("never", "loopback", "lan", "always")
IMAIL_MODES = ("anyone", "addresses", "local_hosts", "local_users", "none")
LOCAL_SENDER_RULES = ("refuse", "allow")
UNKNOWN_RECIPIENT_RULES = ("refuse", "report", "deliver")
SENDER_ORDER = ("kill", "lists", "dns_lists", "return_path")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list: its text, the file it stands in, the key it belongs to, its line from 1 (0: unknown)."""

    text: str
    file: str = ""
    key: str = ""
    line: int = 0

    def __str__(self) -> str:
        return self.text


Entries = tuple[Entry, ...]


def entries(texts: Iterable[str], key: str = "", file: str = "") -> Entries:
    """Entries out of an array of the configuration file."""
    return tuple(Entry(text, file, key) for text in texts)


class ListUnreadable(ValueError):
    """A list file as a whole is no list: too large, too many lines, or no text."""


def read_list(octets: bytes, file: str, key: str) -> Entries:
    """
    Split a list file into entries; blank lines and lines that begin with "#" are skipped.

    Raises:
        ListUnreadable: past 64 MiB or a million lines, a line of more than 1000 characters, NUL inside, or not UTF-8.
    """
    text = read_text(octets)
    lines = text.split("\n")
    if len(lines) > LIST_MAX_LINES:
        raise ListUnreadable("has more than a million lines")
    if len(max(lines, key=len)) > LIST_LINE_MAX:
        number = next(number for number, line in enumerate(lines, 1) if len(line) > LIST_LINE_MAX)
        raise ListUnreadable(f"has more than {LIST_LINE_MAX} characters in line {number}")
    return tuple(
        Entry(line.strip(), file, key, number)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    )


def read_text(octets: bytes) -> str:
    """
    The text of a list file.

    Raises:
        ListUnreadable: past 64 MiB, NUL inside, or not UTF-8.
    """
    if len(octets) > LIST_MAX_OCTETS:
        raise ListUnreadable("is larger than 64 MiB")
    if b"\0" in octets:
        line = octets.count(b"\n", 0, octets.index(0)) + 1
        raise ListUnreadable(f"contains NUL octets, the first in line {line}")
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ListUnreadable(f"is not UTF-8 at octet {error.start}") from None


# --- the relay table, one class a preset ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MailtraqRelay:
    """`preset = "mailtraq"`: the options of the Relaying tab."""

    preset: ClassVar[str] = "mailtraq"

    auth: bool = False
    recent_login: bool = False
    outside_lan: bool = False
    nonlocal_senders: bool = True
    always_from: Entries = ()
    always_to: Entries = ()
    i_know_this_is_an_open_relay: bool = False


@dataclass(frozen=True, slots=True)
class FixedLogin:
    """`auth_only`: the one name and password hash that counts on a service (Ability)."""

    login: str
    password_hash: str

    def __repr__(self) -> str:
        return f"FixedLogin(login={self.login!r})"


@dataclass(frozen=True, slots=True)
class AbilityRelay:
    """`preset = "ability"`: the outgoing service's switches."""

    preset: ClassVar[str] = "ability"

    outgoing: bool = False
    auth: bool = False
    auth_only: FixedLogin | None = None
    ip_range_control: bool = False
    ranges: Entries = ()
    safe: Entries = ()
    allow_own: bool = False
    block_own: bool = False
    i_know_this_is_an_open_relay: bool = False


@dataclass(frozen=True, slots=True)
class IMailRelay:
    """`preset = "imail"`: one of five modes."""

    preset: ClassVar[str] = "imail"

    mode: str = "none"
    addresses: Entries = ()
    accept: Entries = ()
    auth: bool = False
    i_know_this_is_an_open_relay: bool = False


@dataclass(frozen=True, slots=True)
class CustomRelay:
    """`preset = "custom"`: the unified form itself, each fact an entry: "lan", "not auth", "sender_in:partners"."""

    preset: ClassVar[str] = "custom"

    require: tuple[Entries, ...] = ()
    grant: tuple[Entries, ...] = ()
    lists: Mapping[str, Entries] = field(default_factory=dict)
    reply: str = "550 5.7.1 Relaying not allowed"
    i_know_this_is_an_open_relay: bool = False


RelaySettings = MailtraqRelay | AbilityRelay | IMailRelay | CustomRelay

# --- a service's other tables --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendersSettings:
    """`[smtp.senders]`; `kill` holds the lines of `kill_file`."""

    refuse_null: bool = False
    valid_sender: bool = False
    kill: Entries = ()
    local_sender_from_outside: str = "refuse"
    verify_return_path: bool = False
    order: tuple[str, ...] = SENDER_ORDER


@dataclass(frozen=True, slots=True)
class HeloSettings:
    """`[smtp.helo]`."""

    refuse_local: bool = True
    refuse_unresolvable: bool = False


@dataclass(frozen=True, slots=True)
class ListsSettings:
    """
    `[smtp.lists]`. Addresses are firewall entries, senders and recipients address patterns; white wins over black.

    `dns_black` and `dns_white` are zones; a client is black-listed when at least `dns_trigger` of the black zones list
    it and no white one does. `dns_seconds` is how long a session waits for DNS, all its questions together.
    """

    black_addresses: Entries = ()
    black_senders: Entries = ()
    black_recipients: Entries = ()
    white_addresses: Entries = ()
    white_senders: Entries = ()
    white_recipients: Entries = ()
    dns_black: tuple[str, ...] = ()
    dns_white: tuple[str, ...] = ()
    dns_trigger: int = 1
    dns_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class TarpitSettings:
    """
    `[smtp.tarpit]`. `delay_seconds` above 0: what is black-listed is answered slowly and refused at the end of its data
    (Mailtraq). `block_after_failed_recipients` above 0: an address is blocked for `block_seconds` (Ability).
    """

    delay_seconds: float = 0.0
    block_after_failed_recipients: int = 0
    block_seconds: int = 600


@dataclass(frozen=True, slots=True)
class LargeMessagesSettings:
    """`[smtp.large_messages]`: past `max_octets` (0: no limit of its own) a message is refused, but for the exempt."""

    max_octets: int = 0
    exempt_lan: bool = True
    exempt_authenticated: bool = False
    exempt_addresses: Entries = ()
    exempt_senders: Entries = ()


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """
    One service of any protocol. `role` and the tables below `auth_without_tls` are SMTP's alone.

    `access` is one of ACCESS_MODES and so on for the other words.
    """

    name: str
    protocol: Protocol = Protocol.SMTP
    role: Role = Role.BOTH
    access: str = "any"
    firewall: Entries = ()
    recent_position: str = "start"
    refuse: str = "reply"
    auth_without_tls: str = "loopback"
    max_connections: int = 1000
    max_connections_per_address: int = 50
    max_recipients: int = 100
    relay: RelaySettings = MailtraqRelay()
    senders: SendersSettings = SendersSettings()
    helo: HeloSettings = HeloSettings()
    lists: ListsSettings = ListsSettings()
    tarpit: TarpitSettings = TarpitSettings()
    large_messages: LargeMessagesSettings = LargeMessagesSettings()


# --- server-wide tables --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecentLoginSettings:
    """`[recent_login]`; `exclude` holds the words own, loopback, gateway and firewall entries."""

    protocols: tuple[str, ...] = ("pop3", "imap")
    access_seconds: int = 1200
    relay_seconds: int = 300
    require_tls: bool = False
    max_accounts_per_address: int = 5
    any_sender: bool = False
    exclude: Entries = (
        Entry("own", key="recent_login.exclude"),
        Entry("loopback", key="recent_login.exclude"),
        Entry("gateway", key="recent_login.exclude"),
    )
    ipv6_prefix: int = 128


@dataclass(frozen=True, slots=True)
class BarringSettings:
    """`[barring]`: sender and recipient patterns (last match decides) and the text of the refusal."""

    senders: Entries = ()
    recipients: Entries = ()
    reply: str = "554 5.7.1 Refused by local policy"


@dataclass(frozen=True, slots=True)
class ListsAccessSettings:
    """`[lists_access]`: may remote systems post to distribution lists, and expand them (EXPN)?"""

    remote_post: bool = True
    remote_expand: bool = False


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """`[journal]`: mailboxes that get a copy of all that comes in and goes out; "" copies nothing."""

    copy_inbound: str = ""
    copy_outbound: str = ""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """
    All that policy is built from.

    `own_addresses`: the machine's interfaces, loopback included, and the services' listen addresses, as text;
    `gateways`: its default gateways; `proxies`: declared PROXY/XCLIENT hosts as firewall entries, which never get a
    recent login.
    `unknown_recipient`: "refuse", "report" to accept and send a report, or "deliver" where the directory leads unknown
    ones to a catch-all. `file` names the configuration in errors.
    """

    hostname: str
    lan: Entries = ()
    own_addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    proxies: Entries = ()
    recent_login: RecentLoginSettings = RecentLoginSettings()
    services: tuple[ServiceSettings, ...] = ()
    barring: BarringSettings = BarringSettings()
    lists_access: ListsAccessSettings = ListsAccessSettings()
    journal: JournalSettings = JournalSettings()
    unknown_recipient: str = "refuse"
    file: str = ""
