"""
The tables of the configuration file: every key, its type, its bounds and its default.

Types are strict (a text is no number), unknown keys are refused. What is said of each key to an administrator stands in
docs/configuration.md and in the comments of etc/mailtraq.toml; `settings.py` turns these tables into the rooms' own
settings.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from mailtraq_py.mail.address import fold_domain, parse_address

from .listen import parse_listen, parse_nameserver
from .location import (
    DEFAULT_ACCESS_SECONDS,
    DEFAULT_DATA_DIR,
    DEFAULT_IPV6_PREFIX,
    DEFAULT_RELAY_SECONDS,
    DEFAULT_STORE_URL,
)

Access = Literal["any", "firewall", "firewall+lan", "firewall+lan+recent", "granted_except", "denied_except"]
Texts = tuple[str, ...]
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]
WholeSeconds = Annotated[int, Field(ge=0, le=31_536_000)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]


def _checked_listen(text: str) -> str:
    parse_listen(text)
    return text


def _checked_domain(text: str) -> str:
    fold_domain(text)
    return text


def _checked_mailbox(text: str) -> str:
    if text:
        parse_address(text)
    return text


def _checked_next_hop(text: str) -> str:
    if text:
        parse_listen(text)
    return text


def _checked_nameserver(text: str) -> str:
    parse_nameserver(text)
    return text


Listen = Annotated[str, AfterValidator(_checked_listen)]
DomainName = Annotated[str, AfterValidator(_checked_domain)]
Mailbox = Annotated[str, AfterValidator(_checked_mailbox)]
NextHop = Annotated[str, AfterValidator(_checked_next_hop)]
NameserverAddress = Annotated[str, AfterValidator(_checked_nameserver)]


class Table(BaseModel):
    """What all tables have in common."""

    # The whole file is validated at once: no table needs a validator of its own.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


# --- server-wide tables --------------------------------------------------------------------------------------


class Lan(Table):
    """[lan]"""

    addresses: Texts = ()


class RecentLogin(Table):
    """[recent_login]"""

    protocols: tuple[Literal["pop3", "imap"], ...] = ("pop3", "imap")
    access_seconds: WholeSeconds = DEFAULT_ACCESS_SECONDS
    relay_seconds: WholeSeconds = DEFAULT_RELAY_SECONDS
    require_tls: bool = False
    max_accounts_per_address: Positive = 5
    any_sender: bool = False
    exclude: Texts = ("own", "loopback", "gateway")
    ipv6_prefix: Annotated[int, Field(ge=16, le=128)] = DEFAULT_IPV6_PREFIX


class Store(Table):
    """[store]"""

    url: str = DEFAULT_STORE_URL


class TLSName(Table):
    """[[tls.names]]"""

    certificate: str
    key: str = ""


class TLS(Table):
    """[tls]"""

    certificate: str = ""
    key: str = ""
    names: tuple[TLSName, ...] = ()


class Outbound(Table):
    """[outbound]"""

    smarthost: NextHop = ""
    capture: Mailbox = ""
    port: Port = 25
    tls: Literal["opportunistic", "required", "none"] = "opportunistic"
    nameservers: tuple[NameserverAddress, ...] = ()
    allow_private: bool = False
    retry_seconds: tuple[Positive, ...] = (300, 900, 1800, 3600, 7200, 14400)
    expire_seconds: Positive = 432_000
    delay_report_seconds: WholeSeconds = 14400
    max_connections: Positive = 20


class Log(Table):
    """[log]"""

    format: Literal["json", "keyvalue"] = "json"
    level: Literal["debug", "info", "warn", "error", "critical"] = "info"
    file: str = ""


class Limits(Table):
    """[limits]"""

    max_message_octets: Annotated[int, Field(ge=65536)] = 52_428_800
    max_hops: Annotated[int, Field(ge=10)] = 50


class Timeouts(Table):
    """[timeouts]"""

    smtp_seconds: Seconds = 300.0
    pop3_seconds: Annotated[float, Field(ge=600)] = 600.0
    imap_seconds: Annotated[float, Field(ge=1800)] = 1800.0
    login_seconds: Seconds = 60.0
    stop_seconds: Seconds = 10.0


class History(Table):
    """[history]"""

    keep_seconds: WholeSeconds = 1_209_600
    max_octets: Annotated[int, Field(ge=1_048_576)] = 268_435_456


class Barring(Table):
    """[barring]"""

    senders: Texts = ()
    recipients: Texts = ()
    reply: str = "554 5.7.1 Refused by local policy"


class Recipients(Table):
    """[recipients]"""

    delimiters: Annotated[str, Field(pattern=r"^[-+_=#~.]{0,7}$")] = "+"
    aliases: str = ""
    rewrite: Texts = ()
    rewrite_senders: Texts = ()
    domain_maps: Texts = ()
    backup_domains: Texts = ()
    catch_all: Mailbox = ""


class ListsAccess(Table):
    """[lists_access]"""

    remote_post: bool = True
    remote_expand: bool = False


class Journal(Table):
    """[journal]"""

    copy_inbound: Mailbox = ""
    copy_outbound: Mailbox = ""


# --- the relay table, one class a preset ---------------------------------------------------------------------


class MailtraqRelay(Table):
    """[smtp.relay] of preset mailtraq"""

    preset: Literal["mailtraq"] = "mailtraq"
    auth: bool = False
    recent_login: bool = False
    outside_lan: bool = False
    nonlocal_senders: bool = True
    always_from: Texts = ()
    always_to: Texts = ()
    i_know_this_is_an_open_relay: bool = False


class FixedLogin(Table):
    """auth_only of preset ability"""

    login: str
    password_hash: Annotated[str, Field(repr=False)]


class AbilityRelay(Table):
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


class IMailRelay(Table):
    """[smtp.relay] of preset imail"""

    preset: Literal["imail"] = "imail"
    mode: Literal["anyone", "addresses", "local_hosts", "local_users", "none"] = "none"
    addresses: Texts = ()
    accept: Texts = ()
    auth: bool = False
    i_know_this_is_an_open_relay: bool = False


class CustomRelay(Table):
    """[smtp.relay] of preset custom"""

    preset: Literal["custom"] = "custom"
    require: tuple[Texts, ...] = ()
    grant: tuple[Texts, ...] = ()
    lists: dict[str, Texts] = {}
    reply: str = "550 5.7.1 Relaying not allowed"
    i_know_this_is_an_open_relay: bool = False


def _preset(table: Any) -> str | None:
    if isinstance(table, Table):
        return str(getattr(table, "preset", ""))
    return table.get("preset", "mailtraq") if isinstance(table, dict) else None


RelayTable = MailtraqRelay | AbilityRelay | IMailRelay | CustomRelay
Relay = Annotated[
    Annotated[MailtraqRelay, Tag("mailtraq")]
    | Annotated[AbilityRelay, Tag("ability")]
    | Annotated[IMailRelay, Tag("imail")]
    | Annotated[CustomRelay, Tag("custom")],
    Discriminator(_preset),
]

# --- services ------------------------------------------------------------------------------------------------


class Senders(Table):
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


class Helo(Table):
    """[smtp.helo]"""

    refuse_local: bool = True
    refuse_unresolvable: bool = False


class Lists(Table):
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


class Tarpit(Table):
    """[smtp.tarpit]"""

    delay_seconds: Annotated[float, Field(ge=0, le=600)] = 0.0
    block_after_failed_recipients: Count = 0
    block_seconds: WholeSeconds = 600


class LargeMessages(Table):
    """[smtp.large_messages]"""

    max_octets: Count = 0
    exempt_lan: bool = True
    exempt_authenticated: bool = False
    exempt_addresses: Texts = ()
    exempt_senders: Texts = ()


class Service(Table):
    """What [[smtp]], [[pop3]] and [[imap]] share; `name` and `listen` left out follow from role and tls."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]*$")] = ""
    listen: tuple[Listen, ...] = ()
    tls: Literal["none", "starttls", "implicit"] = "starttls"
    auth_without_tls: Literal["never", "loopback", "lan", "always"] = "loopback"
    max_connections: Positive = 1000
    max_connections_per_address: Positive = 50
    access: Access = "any"
    firewall: Texts = ()
    recent_position: Literal["start", "end"] = "start"
    refuse: Literal["reply", "close"] = "reply"


class SMTPService(Service):
    """[[smtp]]"""

    role: Literal["mx", "in", "submission", "out", "both"] = "mx"
    max_recipients: Positive = 100
    relay: Relay = MailtraqRelay.model_construct()
    senders: Senders = Senders.model_construct()
    helo: Helo = Helo.model_construct()
    lists: Lists = Lists.model_construct()
    tarpit: Tarpit = Tarpit.model_construct()
    large_messages: LargeMessages = LargeMessages.model_construct()


class POP3Service(Service):
    """[[pop3]]"""


class IMAPService(Service):
    """[[imap]]"""


class Keys(Table):
    """The whole file."""

    hostname: DomainName = ""
    data_dir: str = DEFAULT_DATA_DIR
    default_domain: str = ""
    user: str = ""
    group: str = ""
    unknown_recipient: Literal["refuse", "report", "deliver"] = "refuse"
    lan: Lan = Lan.model_construct()
    recent_login: RecentLogin = RecentLogin.model_construct()
    store: Store = Store.model_construct()
    tls: TLS = TLS.model_construct()
    outbound: Outbound = Outbound.model_construct()
    log: Log = Log.model_construct()
    limits: Limits = Limits.model_construct()
    timeouts: Timeouts = Timeouts.model_construct()
    history: History = History.model_construct()
    barring: Barring = Barring.model_construct()
    recipients: Recipients = Recipients.model_construct()
    lists_access: ListsAccess = ListsAccess.model_construct()
    journal: Journal = Journal.model_construct()
    smtp: tuple[SMTPService, ...] = ()
    pop3: tuple[POP3Service, ...] = ()
    imap: tuple[IMAPService, ...] = ()
