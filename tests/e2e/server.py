"""
A real server in a folder of its own: configured, filled with accounts, started, killed, started again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import poplib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from mailtraq_py.net.selfsigned import make_self_signed

START_SECONDS = 30.0
STOP_SECONDS = 20.0
PASSWORD = "correct horse 9"
PROGRAMS = Path(sys.executable).parent


# Below the ports that the kernel gives to clients, and apart from those of tests that run beside these.
_PORTS_EACH = 2000
_FIRST_PORT = 12_000 + _PORTS_EACH * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_offsets = itertools.count(os.getpid() * 8)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, none of them given before."""
    ports: list[int] = []
    while len(ports) < count:
        port = _FIRST_PORT + next(_offsets) % _PORTS_EACH
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            ports.append(port)
    return ports


def wait_for(condition, what: str, seconds: float = START_SECONDS) -> None:
    """Poll until `condition()` is true; fail with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Server:
    """
    One installation of ours.

    Args:
        config: TOML put in place of CONFIG; it may name cert.pem and key.pem; `{mx}`, `{submission}`, `{pop3}`,
            `{imap}`, `{dns}`, `{sink}` are filled in with ports, `{processes}` as `workers` says.
        workers: how many; 0: one process does everything.
        accounts: addresses that get PASSWORD; their domains are hosted.
    """

    CONFIG = """
hostname = "mx.example.test"
data_dir = "data"
{processes}

[lan]
addresses = ["192.168.1.*"]

[recent_login]
exclude = []

[store]
url = "sqlite:data/mailtraq.db"

[outbound]
nameservers = ["127.0.0.1:{dns}"]
port = {sink}
allow_private = true
retry_seconds = [1, 2, 5]

[[smtp]]
name = "mx"
role = "both"
listen = ["127.0.0.1:{mx}"]
tls = "none"
auth_without_tls = "loopback"
max_connections_per_address = 500
max_recipients = 1000

[smtp.relay]
preset = "mailtraq"
auth = true
recent_login = true

[smtp.senders]
local_sender_from_outside = "allow"

[[pop3]]
name = "pop3"
listen = ["127.0.0.1:{pop3}"]
tls = "none"
auth_without_tls = "loopback"
max_connections_per_address = 500

[[imap]]
name = "imap"
listen = ["127.0.0.1:{imap}"]
tls = "none"
auth_without_tls = "loopback"
max_connections_per_address = 500
"""

    def __init__(
        self,
        config: str | None = None,
        accounts: Iterable[str] = ("alice@example.test",),
        dns: int = 9,
        sink: int = 9,
        workers: int = 0,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mailtraq-e2e-")
        self.folder = Path(self._folder.name)
        self.folder.chmod(0o755)  # a configured user has to get in
        self.accounts = list(accounts)
        self.mx, self.submission, self.pop3, self.imap = free_ports(4)
        self.config = self.folder / "mailtraq.toml"
        self.log = self.folder / "log"
        ports = {
            "mx": self.mx,
            "submission": self.submission,
            "pop3": self.pop3,
            "imap": self.imap,
            "dns": dns,
            "sink": sink,
            "processes": f"workers = {workers}" if workers else "one_process = true",
        }
        text = config or self.CONFIG
        for name, port in ports.items():
            text = text.replace("{" + name + "}", str(port))
        self.config.write_text(text)
        make_self_signed("mx.example.test", str(self.folder / "cert.pem"), str(self.folder / "key.pem"))
        self.process: subprocess.Popen[bytes] | None = None
        self._workers = workers
        self._starts = 0
        for domain in sorted({address.partition("@")[2] for address in self.accounts}):
            self.mailtraq("domain", "add", domain)
        lines = "".join(f"{address} {PASSWORD}\n" for address in self.accounts)
        self.mailtraq("account", "add", "--from-stdin", stdin=lines)

    def mailtraq(self, *arguments: str, stdin: str = "", check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run the command line on this installation; its exit code must be `check` unless that is None."""
        done = subprocess.run(
            [str(PROGRAMS / "mailtraq"), *arguments, "--config", str(self.config)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check is not None and done.returncode != check:
            raise AssertionError(f"mailtraq {' '.join(arguments)} gave {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def start(self) -> None:
        """Start `twistd` and wait until it serves."""
        self._starts += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(PROGRAMS / "twistd"),
                    "-n",
                    "--pidfile",
                    str(self.folder / "twistd.pid"),
                    "mailtraq",
                    "--config",
                    str(self.config),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        wait_for(self._is_up, "the server to serve")

    def _is_up(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended: {self.log.read_text()[-3000:]}")
        ports = [port for port in (self.mx, self.pop3, self.imap) if str(port) in self.config.read_text()]
        # Sockets take connections before there is a worker.
        is_ready = self._workers == 0 or self.logged().count('"event":"ready"') >= self._starts
        return is_ready and all(listens(port) for port in ports)

    def kill(self) -> None:
        """SIGKILL: no farewell, nothing flushed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        (self.folder / "twistd.pid").unlink(missing_ok=True)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server did not stop in time") from None

    def close(self) -> None:
        """Stop and remove everything."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self._folder.cleanup()

    def leave(self) -> None:
        """Kill it and leave its folder for somebody to look at."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        kept = self.folder.with_name(f"{self.folder.name}-kept")
        self.folder.rename(kept)
        self.folder = kept

    def pop(self, address: str = "alice@example.test", password: str = PASSWORD) -> poplib.POP3:
        """A POP3 session, logged in."""
        session = poplib.POP3("127.0.0.1", self.pop3, timeout=30)
        session.user(address)
        session.pass_(password)
        return session

    def collect(self, address: str = "alice@example.test") -> list[bytes]:
        """All messages of an account by POP3, octet for octet."""
        session = self.pop(address)
        count = len(session.list()[1])
        messages = [b"\r\n".join(session.retr(number)[1]) + b"\r\n" for number in range(1, count + 1)]
        session.quit()
        return messages

    def logged(self) -> str:
        """What the server has logged so far."""
        return self.log.read_text(errors="replace")
