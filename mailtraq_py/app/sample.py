"""
The configuration file that `mailtraq init` writes: every key with its default and a sentence.

etc/mailtraq.toml is what this writes for mx.example.org; a test holds them together, and another that each key of
`sections.py` is in it.
"""

from __future__ import annotations

PRESETS = ("mailtraq", "ability", "imail")


def sample_file(hostname: str, preset: str, user: str = "") -> str:
    """The text of a file for this host and user, with the services of one of PRESETS."""
    server = _SERVER.replace("mx.example.org", hostname)
    if user:
        server = server.replace('# user = ""', f'user = "{user}"', 1)
    return server + _SMTP[preset] + _COLLECTING


_SERVER = """\
# Configuration of mailtraq. What is commented out shows the default; every key may be left out.
# Relative paths begin in this file's folder. `mailtraq check` reads this file and says what is wrong with it;
# `mailtraq reload` brings changes into force without dropping a session.
# All keys, with units and examples: docs/configuration.md.

hostname = "mx.example.org"         # the name this server greets with; its address should have it as reverse name
data_dir = "var"                    # everything that is written lies here
# default_domain = ""               # logins without "@domain" belong to this domain; "": the first one hosted
# user = ""                         # started as root, become this user once the ports are bound
# group = ""                        # ... and this group; "": the user's own
# workers = 0                       # processes that serve, beside one that writes; 0: one for each core
# one_process = false               # true: no other process but the indexer, for the least memory; so it is on one core
# unknown_recipient = "refuse"      # mail for nobody: refuse | report (accept, send a report: not recommended)
#                                   # | deliver (to recipients.catch_all)

[lan]
# Clients that are trusted. An entry is an address, a pattern ("192.168.1.*", "10.0.?.*"), a network ("10.0.0.0/8"),
# a range ("10.0.0.1-10.0.0.9") or a host name; "~" in front excludes. The last entry that matches decides.
addresses = []

[recent_login]
# Who has logged in over POP3 or IMAP gets passage from the same address for a while (POP-before-SMTP).
# protocols = ["pop3", "imap"]      # which logins count
# access_seconds = 1200             # passage through access = "firewall+lan+recent"
# relay_seconds = 300               # relaying, where a service's relay table says recent_login = true
# require_tls = false               # only logins over TLS, or from the LAN, count
# max_accounts_per_address = 5      # with more accounts behind one address the grant is withheld (carrier NAT)
# any_sender = false                # true: any reverse-path; false: addresses of the accounts that logged in
# exclude = ["own", "loopback", "gateway"]  # addresses that never get a grant; firewall entries too
# ipv6_prefix = 128                 # how much of an IPv6 address a grant covers, 16 to 128

[store]
url = "sqlite:var/mailtraq.db"      # or "postgresql:///mail?host=/run/postgresql", for servers on several hosts

[tls]
certificate = "tls/cert.pem"        # PEM, the chain behind it; read again when it changes
key = "tls/key.pem"                 # "": the key is in the certificate's file
# [[tls.names]]                     # further certificates, chosen by the name the client asks for
# certificate = "tls/other.pem"
# key = "tls/other.key"

[outbound]
# smarthost = ""                    # "host:port" takes all mail that leaves; "": the recipient domain's MX
# smarthost_login = ""              # the name to log in there with, where it wants that; TLS is required then
# smarthost_password_file = ""      # a file with the password in its one line, for the server's user alone to read
# capture = ""                      # a local address that gets all mail that would leave (for trials)
# port = 25                         # where MX hosts are spoken to
# tls = "opportunistic"             # opportunistic | required | none
# nameservers = []                  # "address" or "address:port"; []: those of /etc/resolv.conf
# allow_private = false             # true: also deliver to hosts with private or loopback addresses
# retry_seconds = [300, 900, 1800, 3600, 7200, 14400]  # waits between attempts; the last one repeats
# expire_seconds = 432000           # after this long undelivered mail is reported back
# delay_report_seconds = 14400      # first report of a delay to the sender; 0: none
# max_connections = 20              # at once, to all hosts together

[log]
# format = "json"                   # json | keyvalue
# level = "info"                    # debug | info | warn | error | critical
# file = ""                         # "": standard output (data_dir/mailtraq.log when in the background)

[limits]
# max_message_octets = 52428800     # what SIZE announces
# max_hops = 50                     # Received fields; more is a loop

[timeouts]
# smtp_seconds = 300                # idle SMTP sessions end after this (RFC 5321 4.5.3.2.7)
# pop3_seconds = 600                # at least 600 (RFC 1939 3)
# imap_seconds = 1800               # at least 1800 (RFC 9051 5.4)
# login_seconds = 60                # POP3 and IMAP sessions that have not logged in
# stop_seconds = 10                 # running commands may take this long when the server stops

[search]
# The full-text index that SEARCH TEXT and BODY use; kept up by a process of its own when nobody else wants to run.
# enabled = true
# attachments = true                # the text of office files, and of PDF where pypdf is installed, is found too
# max_attachment_octets = 33554432  # larger ones are not read
# max_attachment_text_octets = 1048576  # of each message
# attachment_seconds = 20           # for reading one

[history]
# What policy decided, for `mailtraq policy diff`: addresses, names and verdicts of sessions. Personal data.
# keep_seconds = 1209600            # 14 days; 0 keeps nothing
# max_octets = 268435456            # the oldest goes first

[metrics]
# For Prometheus, on http://ADDRESS/metrics (needs mailtraq_py[metrics]); `mailtraq status` shows the same.
# listen = ""                       # "127.0.0.1:9585"; whoever reaches it reads it; "": none

[deleted]
# Expunged messages and deleted mailboxes: `mailtraq restore` brings them back, and their owner sees them in IMAP.
# keep_seconds = 604800             # 7 days; 0: what is deleted is gone at once
# mailbox = "Recoverable"           # its name in IMAP, read-only, to copy and move from; "": not shown
# max_octets = 0                    # of all accounts; the oldest goes first; 0: no bound
# max_account_octets = 0            # of each account; 0: as much as its quota
# min_free_octets = 268435456       # with less room on the disk the oldest goes, before mail is refused

[barring]
# senders = []                      # address patterns, read top to bottom, the last match decides: * ? % $ ~
# recipients = []
# reply = "554 5.7.1 Refused by local policy"

[recipients]
# delimiters = "+"                  # characters that part a folder from a user: user+folder@; "" for none
# aliases = ""                      # a file of "name: target, target"; docs/configuration.md says what may stand in it
# rewrite = []                      # "pattern -> replacement": recipients as clients name them, the first that matches
# rewrite_senders = []              # the same for reverse-paths, after policy has seen them
# domain_maps = []                  # "old.example -> new.example" or "-> user@new.example"
# backup_domains = []               # "other.example" or "other.example -> host:port": taken, and sent on
# catch_all = ""                    # with unknown_recipient = "deliver": who gets mail for nobody

[lists_access]
# remote_post = true                # may strangers post to distribution lists
# remote_expand = false             # may strangers see who is on them (EXPN)

[journal]
# copy_inbound = ""                 # an address that gets a copy of all mail that comes in
# copy_outbound = ""                # a mailbox here that gets a copy of all that leaves
"""

_SERVICE_KEYS = """\
# auth_without_tls = "loopback"     # never | loopback | lan | always: where passwords may travel without TLS
# max_connections = 1000            # of this service; past it 421 and close
# max_connections_per_address = 50
# access = "any"                    # any | firewall | firewall+lan | firewall+lan+recent
#                                   # | granted_except | denied_except
# firewall = []                     # this service's own list, for the other modes of access
# recent_position = "start"         # start: exclusions win over recent logins; end: recent logins win
# refuse = "reply"                  # reply: 554 5.7.1; close: at once, without a word
"""

_SMTP_KEYS = _SERVICE_KEYS + "# max_recipients = 100              # of one message; past it 452 for the further ones\n"

_POLICY_KEYS = """\
[smtp.senders]
# refuse_null = false               # refuse the null reverse-path (and with it all delivery reports)
# valid_sender = false              # the reverse-path must be user@host
# kill_file = ""                    # a file of user@host, @host, @*tail: 501 5.1.8
# local_sender_from_outside = "refuse"  # refuse | allow strangers who use our domains as sender
# verify_return_path = false        # the sender's domain must have an MX or address
# order = ["kill", "lists", "dns_lists", "return_path"]

[smtp.helo]
# refuse_local = true               # role mx: strangers who greet with one of our names
# refuse_unresolvable = false       # the greeting's name must resolve

[smtp.lists]                        # white wins over black
# black_addresses = []              # firewall entries
# black_senders = []                # address patterns
# black_recipients = []
# white_addresses = []
# white_senders = []
# white_recipients = []
# dns_black = []                    # zones, as "zen.spamhaus.org"
# dns_white = []
# dns_trigger = 1                   # how many black zones must list a client
# dns_seconds = 5                   # how long a session waits for DNS in all; then no answer is no opinion

[smtp.tarpit]
# delay_seconds = 0                 # answer what is black-listed this slowly and refuse it after the data
# block_after_failed_recipients = 0  # block an address after so many unknown recipients
# block_seconds = 600

[smtp.large_messages]
# max_octets = 0                    # larger messages are refused here, 552; 0: only limits.max_message_octets holds
# exempt_lan = true
# exempt_authenticated = false
# exempt_addresses = []             # firewall entries
# exempt_senders = []               # address patterns
"""

_MAILTRAQ_RELAY = """\
[smtp.relay]
preset = "mailtraq"                 # mailtraq | ability | imail | custom: docs/configuration.md
auth = true                         # who has logged in (AUTH) may send to the world; nobody else may, the LAN neither
recent_login = true                 # so may the address of a recent POP3 or IMAP login
# outside_lan = false               # only without auth: strangers may relay
# nonlocal_senders = true           # only without auth: senders of other domains may relay
# always_from = []                  # reverse-paths that may relay, whoever sends (address patterns; forgeable)
# always_to = []                    # recipients that mail is relayed to, whoever sends
# i_know_this_is_an_open_relay = false
"""

_SMTP = {
    "mailtraq": f"""
# --- SMTP: mail from the world -------------------------------------------------------------------------------

[[smtp]]
name = "mx"
role = "mx"                         # mx: from the world | submission: from our users | both
listen = ["0.0.0.0:25", "[::]:25"]
tls = "starttls"                    # none | starttls | implicit
{_SMTP_KEYS}
{_MAILTRAQ_RELAY}
{_POLICY_KEYS}
# --- SMTP: mail from our users; the keys are those of the service above --------------------------------------

[[smtp]]
name = "submission"
role = "submission"
listen = ["0.0.0.0:587", "[::]:587"]
[smtp.relay]
auth = true
recent_login = true

[[smtp]]
name = "submissions"
role = "submission"
listen = ["0.0.0.0:465", "[::]:465"]
tls = "implicit"
[smtp.relay]
auth = true
recent_login = true
""",
    "ability": f"""
# --- Incoming SMTP: takes mail for our accounts only ---------------------------------------------------------

[[smtp]]
name = "incoming"
role = "in"                         # in: never relays | out: for our users | both
listen = ["0.0.0.0:25", "[::]:25"]
tls = "starttls"                    # none | starttls | implicit
{_SMTP_KEYS}
[smtp.relay]
preset = "ability"

{_POLICY_KEYS}
# --- Outgoing SMTP: sends to the world for those who may; the other keys are those of the service above ------

[[smtp]]
name = "outgoing"
role = "out"
listen = ["0.0.0.0:2525", "[::]:2525"]
[smtp.relay]
preset = "ability"
outgoing = true                     # whether mail may leave at all
auth = true                         # only after a login
# auth_only = {{ login = "name", password_hash = "$argon2id$..." }}  # one login that counts, in place of accounts'
# ip_range_control = false          # only from `ranges`, at the connection already
# ranges = []
# safe = []                         # addresses that need neither range nor login
# allow_own = false                 # this machine's own addresses are safe
# block_own = false                 # this machine's own addresses are refused
# i_know_this_is_an_open_relay = false
""",
    "imail": f"""
# --- SMTP: from the world and from our users -----------------------------------------------------------------

[[smtp]]
name = "smtp"
role = "both"
listen = ["0.0.0.0:25", "[::]:25"]
tls = "starttls"                    # none | starttls | implicit
{_SMTP_KEYS}
[smtp.relay]
preset = "imail"
mode = "addresses"                  # anyone | addresses | local_hosts | local_users | none
addresses = ["127.0.0.1"]           # mode addresses: who may relay
# accept = []                       # modes local_hosts, local_users: further senders and hosts
auth = true                         # who has logged in may relay
# i_know_this_is_an_open_relay = false

{_POLICY_KEYS}""",
}

_COLLECTING = f"""
# --- POP3 and IMAP -------------------------------------------------------------------------------------------

[[pop3]]
name = "pop3"
listen = ["0.0.0.0:110", "[::]:110"]
tls = "starttls"
{_SERVICE_KEYS}
[[pop3]]
name = "pop3s"
listen = ["0.0.0.0:995", "[::]:995"]
tls = "implicit"

[[imap]]
name = "imap"
listen = ["0.0.0.0:143", "[::]:143"]
tls = "starttls"

[[imap]]
name = "imaps"
listen = ["0.0.0.0:993", "[::]:993"]
tls = "implicit"
"""
