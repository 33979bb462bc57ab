"""
From tables to settings.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app import sections
from mailtraq_py.app.config import ConfigurationError, parse
from mailtraq_py.app.settings import nameservers, outbound_settings, policy_settings
from mailtraq_py.interfaces.connection import Protocol, Role
from mailtraq_py.policy import settings as policy
from mailtraq_py.policy.settings import Entry

FILE = Path("/etc/mailtraq/mailtraq.toml")
LOGIN = """[outbound]
smarthost = "smart.example:587"
smarthost_login = "me"
smarthost_password_file = "secret"
"""


def read(text: str) -> policy.PolicySettings:
    """Policy's settings of a file."""
    return policy_settings(parse('hostname = "mx.here.example"\n' + text, FILE))


class PolicySettingsTests(SynchronousTestCase):
    """What policy is told."""

    def test_defaults_agree(self) -> None:
        """A file that says nothing gives what policy's own defaults say."""
        settings = read('[[smtp]]\nname = "mx"\ntls = "none"\n')
        self.assertEqual(
            dataclasses.replace(settings.recent_login, exclude=()),
            policy.RecentLoginSettings(exclude=()),
        )
        self.assertEqual([entry.text for entry in settings.recent_login.exclude], ["own", "loopback", "gateway"])
        [service] = settings.services
        self.assertEqual(service, policy.ServiceSettings("mx", Protocol.SMTP, Role.MX))
        for name in ("barring", "lists_access", "journal"):
            self.assertEqual(getattr(settings, name), getattr(policy.PolicySettings("x"), name))

    def test_every_key_arrives(self) -> None:
        """No key of a policy table is lost on the way: settings have a field of the same name."""
        pairs = [
            (sections.RecentLogin, policy.RecentLoginSettings),
            (sections.Barring, policy.BarringSettings),
            (sections.ListsAccess, policy.ListsAccessSettings),
            (sections.Journal, policy.JournalSettings),
            (sections.MailtraqRelay, policy.MailtraqRelay),
            (sections.AbilityRelay, policy.AbilityRelay),
            (sections.IMailRelay, policy.IMailRelay),
            (sections.CustomRelay, policy.CustomRelay),
            (sections.Helo, policy.HeloSettings),
            (sections.Lists, policy.ListsSettings),
            (sections.Tarpit, policy.TarpitSettings),
            (sections.Senders, policy.SendersSettings),
            (sections.SMTPService, policy.ServiceSettings),
        ]
        elsewhere = {"preset", "kill_file", "listen", "tls"}
        for table, settings in pairs:
            names = {field.name for field in dataclasses.fields(settings)}
            self.assertEqual(set(table.__struct_fields__) - names - elsewhere, set(), table.__name__)

    def test_entries_know_their_line(self) -> None:
        """Entries of arrays bring file, key and line; those of a default have no line."""
        settings = read('[lan]\naddresses = [\n  "10.*",\n  "~10.1.*"]\n')
        self.assertEqual(
            settings.lan,
            (Entry("10.*", str(FILE), "lan.addresses", 4), Entry("~10.1.*", str(FILE), "lan.addresses", 5)),
        )
        self.assertEqual(settings.recent_login.exclude[0].line, 0)

    def test_custom_preset(self) -> None:
        """Groups and lists keep their shape and lines."""
        settings = read(
            '[[smtp]]\ntls = "none"\n[smtp.relay]\npreset = "custom"\n'
            'grant = [["auth", "not lan"],\n["address_in:a"]]\nlists = { a = ["10.*"] }\n'
        )
        relay = settings.services[0].relay
        assert isinstance(relay, policy.CustomRelay)
        grant = [[entry.text for entry in group] for group in relay.grant]
        self.assertEqual(grant, [["auth", "not lan"], ["address_in:a"]])
        self.assertEqual(relay.grant[1][0].line, 7)
        self.assertEqual(relay.lists["a"][0].text, "10.*")

    def test_roles(self) -> None:
        """Ability's words for roles are understood."""
        settings = read('[[smtp]]\nname = "a"\nrole = "in"\ntls = "none"\n[[pop3]]\ntls = "none"\n')
        self.assertEqual([service.role for service in settings.services], [Role.MX, Role.BOTH])

    def test_list_files(self) -> None:
        """A kill file is read with its lines; one that is no text is an error of its key."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "mailtraq.toml"
            text = 'hostname = "h.example"\n[[smtp]]\ntls = "none"\n[smtp.senders]\nkill_file = "kill.lst"\n'
            (file.parent / "kill.lst").write_bytes(b"# spammers\n\n@spam.example\n")
            [service] = policy_settings(parse(text, file)).services
            self.assertEqual([(entry.text, entry.line) for entry in service.senders.kill], [("@spam.example", 3)])
            (file.parent / "kill.lst").write_bytes(b"a\0b")
            error = self.assertRaises(ConfigurationError, policy_settings, parse(text, file))
            self.assertIn(":5: smtp[1].senders.kill_file:", error.problems[0])


class OutboundSettingsTests(SynchronousTestCase):
    """What the queue is told."""

    def test_keys(self) -> None:
        """The keys of [outbound], and this server's names and addresses."""
        configuration = parse(
            'hostname = "MX.Here.Example"\n[outbound]\ncapture = "c@here.example"\n'
            "port = 2525\nretry_seconds = [1, 2]\n"
            'nameservers = ["192.0.2.53", "127.0.0.1:5353", "[::1]:54", "::1"]\n',
            FILE,
        )
        settings = outbound_settings(configuration)
        self.assertEqual((settings.capture, settings.port), ("c@here.example", 2525))
        self.assertEqual(settings.retry_seconds, (1.0, 2.0))
        self.assertEqual(settings.own_names, frozenset({"mx.here.example"}))
        self.assertIn("127.0.0.1", settings.own_addresses)
        self.assertEqual(
            nameservers(configuration), [("192.0.2.53", 53), ("127.0.0.1", 5353), ("::1", 54), ("::1", 53)]
        )

    def test_smarthost_login(self) -> None:
        """The password is the one line of its file; what is no password, or not there, is an error of its key."""
        with tempfile.TemporaryDirectory() as folder:
            file, secret = Path(folder) / "mailtraq.toml", Path(folder) / "secret"
            secret.write_bytes("pässword with blanks \n".encode())
            configuration = parse(LOGIN, file)
            settings = outbound_settings(configuration)
            self.assertEqual(settings.smarthost_login, "me")
            self.assertEqual(settings.smarthost_password, "pässword with blanks ".encode())
            self.assertNotIn("blanks", repr(settings))
            for octets, reason in (
                (b"", "must hold one line, the password"),
                (b"one\ntwo\n", "must hold one line, the password"),
                (b"a\0b\n", "a password has no NUL"),
                (b"x" * 1025, "a password has at most 1024 octets"),
            ):
                secret.write_bytes(octets)
                error = self.assertRaises(ConfigurationError, outbound_settings, configuration)
                told = f"{file}:4: outbound.smarthost_password_file: {secret}: {reason}"
                self.assertEqual(error.problems, (told,))
            secret.unlink()
            self.assertRaises(ConfigurationError, outbound_settings, configuration)
            error = self.assertRaises(ConfigurationError, parse, LOGIN, file)
            self.assertIn(f"there is no file {secret}", error.problems[0])

    def test_smarthost_login_alone(self) -> None:
        """Login, password and smarthost go together; without TLS a password goes to loopback alone."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "mailtraq.toml"
            (file.parent / "secret").write_bytes(b"word\n")
            for wrong, key in (
                ('smarthost = "smart.example:587"', "outbound.smarthost_login"),
                ('smarthost_login = "me"', "outbound.smarthost_password_file"),
                ('smarthost_password_file = "secret"', "outbound.smarthost_login"),
            ):
                error = self.assertRaises(ConfigurationError, parse, LOGIN.replace(wrong, ""), file)
                self.assertIn(f": {key}: ", error.problems[0])
            error = self.assertRaises(ConfigurationError, parse, LOGIN + 'tls = "none"\n', file)
            self.assertEqual(
                error.problems,
                (
                    f"{file}:5: outbound.tls: the password for smart.example is not sent without TLS;"
                    ' leave out tls = "none"',
                ),
            )
            for host in ("localhost", "127.0.0.1", "[::1]"):
                parse(LOGIN.replace("smart.example", host) + 'tls = "none"\n', file)

    def test_system_nameservers(self) -> None:
        """Without nameservers those of the system are asked."""
        self.assertIs(nameservers(parse("", FILE)), None)

    def test_bad(self) -> None:
        """A nameserver is an address, a smarthost has a port."""
        text = '[outbound]\nnameservers = ["dns.example"]\nsmarthost = "smart.example"\n'
        self.assertEqual(len(self.assertRaises(ConfigurationError, parse, text, FILE).problems), 2)
