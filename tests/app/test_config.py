"""
The configuration file: defaults, and every error at once with its line.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.config import Configuration, ConfigurationError, load, parse

FILE = Path("/etc/mailtraq/mailtraq.toml")

PLAIN = """\
hostname = "mx.example.org"
[[smtp]]
tls = "none"
[[smtp]]
role = "submission"
tls = "none"
[[pop3]]
tls = "none"
[[imap]]
tls = "none"
"""


class ConfigurationTests(SynchronousTestCase):
    """What a file means."""

    def refused(self, text: str) -> list[str]:
        """The problems of a file, without its name."""
        error = self.assertRaises(ConfigurationError, parse, text, FILE)
        return [problem.removeprefix(f"{FILE}:") for problem in error.problems]

    def read(self, text: str) -> Configuration:
        """A file that is right."""
        return parse(text, FILE)

    def test_empty(self) -> None:
        """Every key may be left out."""
        keys = self.read("").keys
        self.assertEqual(keys.recent_login.access_seconds, 1200)
        self.assertEqual(keys.recent_login.relay_seconds, 300)
        self.assertEqual(keys.recent_login.exclude, ("own", "loopback", "gateway"))
        self.assertEqual((keys.smtp, keys.lan.addresses), ((), ()))

    def test_ports_and_names_follow(self) -> None:
        """A service without name and listen has those of its role and protocol."""
        services = {service.name: service.listen[0] for _, service in self.read(PLAIN).services()}
        self.assertEqual(
            services,
            {"mx": "0.0.0.0:25", "submission": "0.0.0.0:587", "pop3": "0.0.0.0:110", "imap": "0.0.0.0:143"},
        )

    def test_how_many_serve(self) -> None:
        """As many as there are cores, or as the file says; 0 is a single process, where it says so, or on one core."""
        for cores, text, workers in (
            (4, "", 4),
            (4, "workers = 2\n", 2),
            (4, "one_process = true\n", 0),
            (4, "workers = 2\none_process = true\n", 0),
            (1, "", 0),
            (1, "workers = 1\n", 1),
        ):
            self.patch(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
            self.assertEqual(parse(text + PLAIN, FILE).workers, workers, (cores, text))

    def test_relative_paths(self) -> None:
        """Relative paths begin in the file's folder, the database's too; absolute ones stay."""
        configuration = self.read('data_dir = "../data"\n')
        self.assertEqual(configuration.data_dir, Path("/etc/mailtraq/../data"))
        self.assertEqual(configuration.location.store_url, "sqlite:/etc/mailtraq/var/mailtraq.db")
        self.assertEqual(self.read('[store]\nurl = "sqlite:/a/b.db"').location.store_url, "sqlite:/a/b.db")
        with_password = self.read('[store]\nurl = "postgresql://mail:geheim@db.example/mail"')
        self.assertEqual(with_password.location.store_url, "postgresql://mail:geheim@db.example/mail")
        for shown in (repr(with_password), repr(with_password.location), with_password.location.shown_store):
            self.assertNotIn("geheim", shown)

    def test_all_errors_at_once(self) -> None:
        """Every error of a file is reported, in the file's order, with line, key and a sentence."""
        problems = self.refused(
            'hostname = "mx.example.org"\n'
            "bogus = 1\n"
            "[lan]\n"
            'addresses = [\n  "10.*",\n  5,\n]\n'
            "[[smtp]]\n"
            'tls = "none"\n'
            'max_recipients = "100"\n'
            "[smtp.relay]\n"
            'auth = "yes"\n'
            "recent_logn = true\n"
            "[recent_login]\n"
            'protocols = ["pop3", "smtp"]\n'
            "access_seconds = -1\n"
        )
        self.assertEqual(
            problems,
            [
                "2: bogus: unknown key",
                "6: lan.addresses[2]: must be a text in quotes",
                "10: smtp[1].max_recipients: must be a whole number",
                "12: smtp[1].relay.auth: must be true or false",
                "13: smtp[1].relay.recent_logn: unknown key (did you mean recent_login?)",
                "15: recent_login.protocols[2]: must be one of 'pop3' or 'imap'",
                "16: recent_login.access_seconds: must be at least 0",
            ],
        )

    def test_name_of_deleted_mail(self) -> None:
        """A mailbox of one level that is not INBOX, or none."""
        for name in ("", "Deleted mail", "Gelöschtes"):
            self.assertEqual(self.read(f'[deleted]\nmailbox = "{name}"').keys.deleted.mailbox, name)
        for name in ("INBOX", "inbox", "a/b", " a", "a*"):
            problem = "2: deleted.mailbox: "
            self.assertEqual(self.refused(f'[deleted]\nmailbox = "{name}"')[0][: len(problem)], problem)

    def test_presets_have_their_own_keys(self) -> None:
        """A key of another preset is unknown in this one, and a preset nobody knows is named as such."""
        relay = '[[smtp]]\nname = "a"\ntls = "none"\n[smtp.relay]\npreset = "{}"\n{}'
        head = 'hostname = "mx.example.org"\n'
        self.assertEqual(
            self.refused(head + relay.format("imail", "outside_lan = true\n")),
            ["7: smtp[1].relay.outside_lan: this key does not belong in this table"],
        )
        self.assertIn("relay.preset: must be one of", self.refused(head + relay.format("exim", ""))[0])
        ability = self.read(head + relay.format("ability", "outgoing = true\n")).keys.smtp[0].relay
        self.assertEqual((ability.preset, ability.auth), ("ability", False))

    def test_no_toml(self) -> None:
        """A file that is no TOML is one error with its line, and the key that begins there."""
        self.assertEqual(self.refused('hostname = "a"\nlan = [\n'), ["3: Invalid value"])
        self.assertEqual(self.refused("a = 1\na = 2\n"), ["2: a: Cannot overwrite a value"])
        self.assertEqual(self.refused('[lan]\n\n  hostname = mx.example\n'), ["3: hostname: Invalid value"])
        self.assertEqual(self.refused("a = " + "[" * 5000), ["1: arrays or tables are nested too deeply"])

    def test_empty_arrays(self) -> None:
        """Where nothing is no answer, an empty array is an error: it does not mean every address and port 25."""
        problems = self.refused(PLAIN.replace('role = "submission"', 'role = "submission"\nlisten = []'))
        self.assertEqual(problems, ["6: smtp[2].listen: must have an entry; without the key the default holds"])
        self.assertEqual(
            self.refused(PLAIN + "[outbound]\nretry_seconds = []\n")[0].split(": ")[1], "outbound.retry_seconds"
        )

    def test_log_folder(self) -> None:
        """A log file needs its folder."""
        problems = self.refused(PLAIN + '[log]\nfile = "nowhere/mail.log"\n')
        self.assertEqual(problems, ["12: log.file: there is no folder /etc/mailtraq/nowhere"])

    def test_listen(self) -> None:
        """Addresses to listen on are judged one by one, and nothing is listened on twice."""
        listen = 'role = "submission"\nlisten = ["[::]:25", "x", "1.2.3:4", "h:99999"]'
        problems = self.refused(PLAIN.replace('role = "submission"', listen))
        keys = [problem.split(": ")[1] for problem in problems]
        self.assertEqual(keys, [f"smtp[2].listen[{n}]" for n in (1, 2, 3, 4)])
        problems = self.refused(PLAIN.replace('role = "submission"', 'role = "submission"\nlisten = ["[::]:25"]'))
        self.assertEqual(problems, ["6: smtp[2].listen[1]: [::]:25 is taken by the service in line 2"])

    def test_what_belongs_together(self) -> None:
        """A service with TLS needs a certificate, a server a host name, two services two names."""
        self.assertEqual(
            self.refused('hostname = "h.example"\n[[smtp]]\n'),
            ['2: smtp[1].tls: tls = "starttls" needs a certificate in [tls], or say tls = "none"'],
        )
        self.assertEqual(
            self.refused('[[smtp]]\ntls = "none"\n'),
            ["1: hostname: hostname is needed: the name by which this server greets"],
        )
        twice = PLAIN + '[[imap]]\ntls = "none"\nlisten = ["127.0.0.1:1143"]\n'
        self.assertEqual(
            self.refused(twice),
            ['11: imap[2].name: the service in line 9 is called "imap" too; give each a name'],
        )

    def test_files_must_exist(self) -> None:
        """A certificate, key or list that is not there stops the start."""
        problems = self.refused(PLAIN + '[tls]\ncertificate = "no/cert.pem"\n')
        self.assertEqual(problems, ["12: tls.certificate: there is no file /etc/mailtraq/no/cert.pem"])

    def test_unreadable(self) -> None:
        """A file that cannot be read is an error, not a traceback."""
        error = self.assertRaises(ConfigurationError, load, Path("/nonexistent/mailtraq.toml"))
        self.assertEqual(error.problems, ("/nonexistent/mailtraq.toml: No such file or directory",))
