"""
The tables of the configuration file: every key, its type, its bounds and its default.

How they are read stands in `tables.py`. What is said of each key to an administrator stands in
docs/configuration.md and in the comments of etc/mailtraq.toml; `settings.py` turns these tables into the rooms' own
settings.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from mailtraq_py.mail.address import fold_domain, parse_address
from mailtraq_py.mail.mailbox import INBOX, SEPARATOR, canonical_name

from .listen import parse_listen, parse_nameserver
from .location import (
    DEFAULT_ACCESS_SECONDS,
    DEFAULT_DATA_DIR,
    DEFAULT_IPV6_PREFIX,
    DEFAULT_RELAY_SECONDS,
    DEFAULT_STORE_URL,
)
from .tables import Table, at_least, at_most, matching, more_than, not_empty

Access = Literal["any", "firewall", "firewall+lan", "firewall+lan+recent", "granted_except", "denied_except"]
Texts = tuple[str, ...]
Seconds = Annotated[float, more_than(0), at_most(31_536_000)]
WholeSeconds = Annotated[int, at_least(0), at_most(31_536_000)]
Count = Annotated[int, at_least(0)]
Positive = Annotated[int, at_least(1)]
Port = Annotated[int, at_least(1), at_most(65535)]


def _is_mailbox(text: str) -> None:
    if text:
        parse_address(text)


def _is_next_hop(text: str) -> None:
    if text:
        parse_listen(text)


def _is_virtual_mailbox(text: str) -> None:
    if text and (canonical_name(text) != text or SEPARATOR in text or text == INBOX):
        raise ValueError("is no mailbox name of one level")


Listen = Annotated[str, parse_listen]
DomainName = Annotated[str, fold_domain]
Mailbox = Annotated[str, _is_mailbox]
NextHop = Annotated[str, _is_next_hop]
LoginName = Annotated[str, matching(r"[^\x00-\x1f\x7f]{0,255}", "must be one line of at most 255 characters")]
VirtualMailbox = Annotated[str, _is_virtual_mailbox]
NameserverAddress = Annotated[str, parse_nameserver]


# --- server-wide tables --------------------------------------------------------------------------------------


class Lan(Table, frozen=True):
    """[lan]"""

    addresses: Texts = ()


class RecentLogin(Table, frozen=True):
    """[recent_login]"""

    protocols: tuple[Literal["pop3", "imap"], ...] = ("pop3", "imap")
    access_seconds: WholeSeconds = DEFAULT_ACCESS_SECONDS
    relay_seconds: WholeSeconds = DEFAULT_RELAY_SECONDS
    require_tls: bool = False
    max_accounts_per_address: Positive = 5
    any_sender: bool = False
    exclude: Texts = ("own", "loopback", "gateway")
    ipv6_prefix: Annotated[int, at_least(16), at_most(128)] = DEFAULT_IPV6_PREFIX


class Store(Table, frozen=True):
    """[store]"""

    url: str = DEFAULT_STORE_URL

    def __repr__(self) -> str:
        # The URL may hold a password.
        return "Store()"


class TLSName(Table, frozen=True):
    """[[tls.names]]"""

    certificate: str
    key: str = ""


class TLS(Table, frozen=True):
    """[tls]"""

    certificate: str = ""
    key: str = ""
    names: tuple[TLSName, ...] = ()


class Outbound(Table, frozen=True):
    """[outbound]"""

    smarthost: NextHop = ""
    smarthost_login: LoginName = ""
    smarthost_password_file: str = ""
    capture: Mailbox = ""
    port: Port = 25
    tls: Literal["opportunistic", "required", "none"] = "opportunistic"
    nameservers: tuple[NameserverAddress, ...] = ()
    allow_private: bool = False
    retry_seconds: Annotated[tuple[Positive, ...], not_empty] = (300, 900, 1800, 3600, 7200, 14400)
    expire_seconds: Positive = 432_000
    delay_report_seconds: WholeSeconds = 14400
    max_connections: Positive = 20


class Log(Table, frozen=True):
    """[log]"""

    format: Literal["json", "keyvalue"] = "json"
    level: Literal["debug", "info", "warn", "error", "critical"] = "info"
    file: str = ""


class Limits(Table, frozen=True):
    """[limits]"""

    max_message_octets: Annotated[int, at_least(65536)] = 52_428_800
    max_hops: Annotated[int, at_least(10)] = 50


class Timeouts(Table, frozen=True):
    """[timeouts]"""

    smtp_seconds: Seconds = 300.0
    pop3_seconds: Annotated[float, at_least(600)] = 600.0
    imap_seconds: Annotated[float, at_least(1800)] = 1800.0
    login_seconds: Seconds = 60.0
    stop_seconds: Seconds = 10.0


class Search(Table, frozen=True):
    """[search]"""

    enabled: bool = True
    attachments: bool = True
    max_attachment_octets: Annotated[int, at_least(65536)] = 33_554_432
    max_attachment_text_octets: Annotated[int, at_least(1024)] = 1_048_576
    attachment_seconds: Annotated[float, at_least(1)] = 20.0


class History(Table, frozen=True):
    """[history]"""

    keep_seconds: WholeSeconds = 1_209_600
    max_octets: Annotated[int, at_least(1_048_576)] = 268_435_456


class Deleted(Table, frozen=True):
    """[deleted]"""

    keep_seconds: WholeSeconds = 604_800
    mailbox: VirtualMailbox = "Recoverable"
    max_octets: Count = 0
    max_account_octets: Count = 0
    min_free_octets: Count = 268_435_456


class Metrics(Table, frozen=True):
    """[metrics]"""

    listen: NextHop = ""


class Barring(Table, frozen=True):
    """[barring]"""

    senders: Texts = ()
    recipients: Texts = ()
    reply: str = "554 5.7.1 Refused by local policy"


class Recipients(Table, frozen=True):
    """[recipients]"""

    delimiters: Annotated[str, matching(r"[-+_=#~.]{0,7}", "may hold up to seven of - + _ = # ~ .")] = "+"
    aliases: str = ""
    rewrite: Texts = ()
    rewrite_senders: Texts = ()
    domain_maps: Texts = ()
    backup_domains: Texts = ()
    catch_all: Mailbox = ""


class ListsAccess(Table, frozen=True):
    """[lists_access]"""

    remote_post: bool = True
    remote_expand: bool = False


class Journal(Table, frozen=True):
    """[journal]"""

    copy_inbound: Mailbox = ""
    copy_outbound: Mailbox = ""


# --- the relay table, one class a preset ---------------------------------------------------------------------


class MailtraqRelay(Table, frozen=True):
    """[smtp.relay] of preset mailtraq"""

    preset: Literal["mailtraq"] = "mailtraq"
    auth: bool = False
    recent_login: bool = False
    outside_lan: bool = False
    nonlocal_senders: bool = True
    always_from: Texts = ()
    always_to: Texts = ()
    i_know_this_is_an_open_relay: bool = False


class FixedLogin(Table, frozen=True):
    """auth_only of preset ability"""

    login: str
    password_hash: str

    def __repr__(self) -> str:
        """Without the hash."""
        return f"FixedLogin(login={self.login!r})"


class AbilityRelay(Table, frozen=True):
    """[smtp.relay] of preset ability"""

    preset: Literal["ability"] = "ability"
    outgoing: bool = False
    auth: bool = False
    auth_only: FixedLogin | None = None
    ip_range_control: bool = False
    ranges: Texts = ()
    safe: Texts = ()
    allow_own: bool = False
    block_own: bool = False
    i_know_this_is_an_open_relay: bool = False


class IMailRelay(Table, frozen=True):
    """[smtp.relay] of preset imail"""

    preset: Literal["imail"] = "imail"
    mode: Literal["anyone", "addresses", "local_hosts", "local_users", "none"] = "none"
    addresses: Texts = ()
    accept: Texts = ()
    auth: bool = False
    i_know_this_is_an_open_relay: bool = False


class CustomRelay(Table, frozen=True):
    """[smtp.relay] of preset custom"""

    preset: Literal["custom"] = "custom"
    require: tuple[Texts, ...] = ()
    grant: tuple[Texts, ...] = ()
    lists: dict[str, Texts] = field(default_factory=dict)
    reply: str = "550 5.7.1 Relaying not allowed"
    i_know_this_is_an_open_relay: bool = False


Relay = MailtraqRelay | AbilityRelay | IMailRelay | CustomRelay

# --- services ------------------------------------------------------------------------------------------------


class Senders(Table, frozen=True):
    """[smtp.senders]"""

    refuse_null: bool = False
    valid_sender: bool = False
    kill_file: str = ""
    local_sender_from_outside: Literal["refuse", "allow"] = "refuse"
    verify_return_path: bool = False
    order: tuple[Literal["kill", "lists", "dns_lists", "return_path"], ...] = (
        "kill",
        "lists",
        "dns_lists",
        "return_path",
    )


class Helo(Table, frozen=True):
    """[smtp.helo]"""

    refuse_local: bool = True
    refuse_unresolvable: bool = False


class Lists(Table, frozen=True):
    """[smtp.lists]"""

    black_addresses: Texts = ()
    black_senders: Texts = ()
    black_recipients: Texts = ()
    white_addresses: Texts = ()
    white_senders: Texts = ()
    white_recipients: Texts = ()
    dns_black: tuple[DomainName, ...] = ()
    dns_white: tuple[DomainName, ...] = ()
    dns_trigger: Positive = 1
    dns_seconds: Seconds = 5.0


class Tarpit(Table, frozen=True):
    """[smtp.tarpit]"""

    delay_seconds: Annotated[float, at_least(0), at_most(600)] = 0.0
    block_after_failed_recipients: Count = 0
    block_seconds: WholeSeconds = 600


class LargeMessages(Table, frozen=True):
    """[smtp.large_messages]"""

    max_octets: Count = 0
    exempt_lan: bool = True
    exempt_authenticated: bool = False
    exempt_addresses: Texts = ()
    exempt_senders: Texts = ()


class Service(Table, frozen=True):
    """What [[smtp]], [[pop3]] and [[imap]] share; `name` and `listen` left out follow from role and tls."""

    name: Annotated[str, matching(r"[A-Za-z0-9_.-]*", "may hold letters, digits and _ . - only")] = ""
    listen: Annotated[tuple[Listen, ...], not_empty] = ()
    tls: Literal["none", "starttls", "implicit"] = "starttls"
    auth_without_tls: Literal["never", "loopback", "lan", "always"] = "loopback"
    max_connections: Positive = 1000
    max_connections_per_address: Positive = 50
    access: Access = "any"
    firewall: Texts = ()
    recent_position: Literal["start", "end"] = "start"
    refuse: Literal["reply", "close"] = "reply"


class SMTPService(Service, frozen=True):
    """[[smtp]]"""

    role: Literal["mx", "in", "submission", "out", "both"] = "mx"
    max_recipients: Positive = 100
    relay: Relay = MailtraqRelay()
    senders: Senders = Senders()
    helo: Helo = Helo()
    lists: Lists = Lists()
    tarpit: Tarpit = Tarpit()
    large_messages: LargeMessages = LargeMessages()


class POP3Service(Service, frozen=True):
    """[[pop3]]"""


class IMAPService(Service, frozen=True):
    """[[imap]]"""


class Keys(Table, frozen=True):
    """The whole file."""

    hostname: DomainName = ""
    data_dir: str = DEFAULT_DATA_DIR
    default_domain: str = ""
    user: str = ""
    group: str = ""
    workers: Annotated[int, at_least(0), at_most(256)] = 0
    one_process: bool = False
    unknown_recipient: Literal["refuse", "report", "deliver"] = "refuse"
    lan: Lan = Lan()
    recent_login: RecentLogin = RecentLogin()
    store: Store = Store()
    tls: TLS = TLS()
    outbound: Outbound = Outbound()
    log: Log = Log()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    search: Search = Search()
    history: History = History()
    metrics: Metrics = Metrics()
    deleted: Deleted = Deleted()
    barring: Barring = Barring()
    recipients: Recipients = Recipients()
    lists_access: ListsAccess = ListsAccess()
    journal: Journal = Journal()
    smtp: tuple[SMTPService, ...] = ()
    pop3: tuple[POP3Service, ...] = ()
    imap: tuple[IMAPService, ...] = ()
