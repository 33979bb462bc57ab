"""
`mailtraq trial`: a whole server on loopback, with accounts, that sends nothing off the machine.

Its folder is an installation like any other, so every command works on it with --config; the passwords it made up lie
beside in a file of mode 0600, and a second run goes on with accounts, passwords and mail of the first.
"""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.logger import globalLogBeginner

from mailtraq_py.store.now import run_now

from .config import Configuration, load
from .installation import CONFIGURATION_NAME, install
from .listen import parse_listen
from .offline import offline_store
from .service import MailService

HOSTNAME = "mail.example.test"
DOMAIN = "example.test"
PEOPLE = ("alice", "bob")
CAPTURED = "captured"

_TLS = {"none": "", "starttls": "STARTTLS", "implicit": "TLS"}

FILE = f"""\
# A server to try: loopback only, and nothing leaves the machine. `mailtraq trial` wrote it once; change what you like.

hostname = "{HOSTNAME}"
data_dir = "var"
one_process = true

[recent_login]
exclude = []                        # loopback counts here: a POP3 or IMAP login opens the relay for five minutes

[store]
url = "sqlite:var/mailtraq.db"

[tls]
certificate = "tls/cert.pem"
key = "tls/key.pem"

[outbound]
capture = "{CAPTURED}@{DOMAIN}"     # mail for other domains ends in this mailbox

[log]
format = "keyvalue"

[[smtp]]
name = "mx"
role = "mx"
listen = ["127.0.0.1:2525"]
[smtp.relay]
auth = true
recent_login = true

[[smtp]]
name = "submission"
role = "submission"
listen = ["127.0.0.1:2587"]
[smtp.relay]
auth = true
recent_login = true

[[smtp]]
name = "submissions"
role = "submission"
listen = ["127.0.0.1:2465"]
tls = "implicit"
[smtp.relay]
auth = true
recent_login = true

[[pop3]]
name = "pop3"
listen = ["127.0.0.1:2110"]

[[pop3]]
name = "pop3s"
listen = ["127.0.0.1:2995"]
tls = "implicit"

[[imap]]
name = "imap"
listen = ["127.0.0.1:2143"]

[[imap]]
name = "imaps"
listen = ["127.0.0.1:2993"]
tls = "implicit"
"""


def run_trial(directory: Path) -> None:
    """
    Serve until Ctrl-C.

    Raises:
        ConfigurationError: the folder's configuration was changed and is wrong now.
        CannotStart: a port is taken; the message names who has it.
        OSError: the folder cannot be written.
    """
    file = directory / CONFIGURATION_NAME
    if not file.exists():
        install(directory, FILE, HOSTNAME)
    configuration = load(file)
    reactor: Any = installed_reactor
    service = MailService(configuration, reactor)
    passwords = _make_accounts(configuration, directory / "accounts")
    service.prepare()
    print(_welcome(configuration, passwords), flush=True)
    globalLogBeginner.beginLoggingTo([service.log_lines()], redirectStandardIO=False)
    service.ready.addCallback(lambda _: print("ready: Ctrl-C stops it; what happens is told below\n", flush=True))
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


def _make_accounts(configuration: Configuration, file: Path) -> dict[str, str]:
    """See that domain and accounts are there with the passwords of `file`; returns the passwords by address."""
    passwords = _read_passwords(file)
    wanted = [f"{name}@{DOMAIN}" for name in (*PEOPLE, CAPTURED)]
    missing = {address: secrets.token_urlsafe(9) for address in wanted if address not in passwords}
    if missing:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.writelines(f"{address} {password}\n" for address, password in missing.items())
    passwords |= missing
    with offline_store(configuration.location) as store:
        administration = store.administration
        if not run_now(store.directory.is_local_domain(DOMAIN)):
            run_now(administration.add_domain(DOMAIN))
        for address in wanted:
            password = passwords[address].encode()
            if run_now(store.directory.find_account(address)) is None:
                run_now(administration.add_account(address, password))
            elif address in missing:
                run_now(administration.set_password(address, password))
    return {address: passwords[address] for address in wanted}


def _read_passwords(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text("ascii").splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split(" ", 1) for line in lines if " " in line)


def _welcome(configuration: Configuration, passwords: dict[str, str]) -> str:
    """What there is, and five commands to try."""
    alice = f"alice@{DOMAIN}"
    login = shlex.quote(f"{alice}:{passwords[alice]}")
    program = shlex.quote(_shown(Path(sys.argv[0])))
    config = shlex.quote(_shown(configuration.file))
    at = {service.name: parse_listen(service.listen[0]) for _, service in configuration.services()}
    submission = at["submission"]
    scenario = (
        '{"service": "mx", "client": "203.0.113.9", "mail_from": "friend@elsewhere.example",'
        ' "rcpt_to": ["victim@third.example"]}'
    )
    script = (
        f"import smtplib; s = smtplib.SMTP('{submission.host}', {submission.port}); "
        f"s.login('{alice}', '{passwords[alice]}'); "
        f"s.sendmail('{alice}', 'friend@elsewhere.example', 'Subject: out\\n\\nHello, world.\\n'); s.quit()"
    )
    accounts = "\n".join(f"    {address:<24} {password}" for address, password in passwords.items())
    services = "\n".join(
        f"    {str(path[0]).upper():<6} {at[service.name]!s:<18} {_TLS[service.tls]:<10} {service.name}"
        for path, service in configuration.services()
    )
    return f"""\
mailtraq trial: data in {_shown(configuration.file.parent)}, loopback only, nothing leaves this machine.

  Accounts and their passwords ({CAPTURED} gets all mail for other domains)
{accounts}

  Services
{services}

  Try, in another terminal:
    swaks --server {at["mx"]} --from friend@elsewhere.example --to {alice}
    curl --user {login} pop3://{at["pop3"]}/1
    curl --user {login} 'imap://{at["imap"]}/INBOX;MAILINDEX=1'
    {program} explain --config {config} '{scenario}'
    python3 -c "{script}"
"""


def _shown(path: Path) -> str:
    """A path as somebody in this folder would type it."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
