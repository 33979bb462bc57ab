"""mailtraq_py/net/tls.py and selfsigned.py: real handshakes in memory, between two TLS connections."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.net import tls
from mailtraq_py.net.selfsigned import make_self_signed
from mailtraq_py.net.tls import BadCertificate, CertificatePaths, TLSContexts


class HandshakeTests(SynchronousTestCase):
    """Certificates by name, reloading, verification."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.one = self.make("one.test")
        self.two = self.make("two.test")
        self.patch(tls, "LOOK_SECONDS", 0.0)

    def make(self, name: str) -> CertificatePaths:
        """A certificate in the test's folder."""
        paths = CertificatePaths(str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key"))
        make_self_signed(name, paths.certificate, paths.key)
        return paths

    def shake(self, server: TLSContexts, client: TLSContexts, host: str, verify: bool) -> tuple[str, str]:
        """Do a handshake; returns the certificate's common name and the protocol version."""
        ends = []
        for contexts, is_client in ((server.for_server(), False), (client.for_client(host, verify), True)):
            factory = TLSMemoryBIOFactory(contexts, is_client, Factory.forProtocol(Protocol))
            end, transport = factory.buildProtocol(None), StringTransport()
            end.makeConnection(transport)
            ends.append((end, transport))
        for _ in range(6):
            for (_, source), (target, _) in zip(ends, reversed(ends), strict=True):
                octets = source.value()
                source.clear()
                if octets:
                    target.dataReceived(octets)
        handle = ends[1][0].getHandle()
        certificate = handle.get_peer_certificate(as_cryptography=True)
        if certificate is None or ends[1][1].disconnecting or ends[1][1].disconnected:
            raise SSL.Error("no handshake")
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return names[0].value, handle.get_protocol_version_name()

    def test_default_certificate(self) -> None:
        """A client that names nobody we know gets the first certificate."""
        server = TLSContexts([self.one, self.two])
        self.assertEqual(self.shake(server, TLSContexts([]), "else.test", False), ("one.test", "TLSv1.3"))

    def test_certificate_by_name(self) -> None:
        """SNI chooses, in any case, and configured names replace the certificate's own."""
        server = TLSContexts([self.one, self.two])
        self.assertEqual(self.shake(server, TLSContexts([]), "TWO.test", False)[0], "two.test")
        named = CertificatePaths(self.two.certificate, self.two.key, ("*.three.test",))
        server = TLSContexts([self.one, named])
        self.assertEqual(self.shake(server, TLSContexts([]), "a.three.test", False)[0], "two.test")
        self.assertEqual(self.shake(server, TLSContexts([]), "two.test", False)[0], "one.test")

    def test_reload(self) -> None:
        """New files are used by the next connection; files that do not fit leave the old ones in force."""
        server = TLSContexts([self.one])
        os.replace(self.two.certificate, self.one.certificate)
        self.assertEqual(self.shake(server, TLSContexts([]), "x.test", False)[0], "one.test")
        os.replace(self.two.key, self.one.key)
        self.assertEqual(self.shake(server, TLSContexts([]), "x.test", False)[0], "two.test")

    def test_verified(self) -> None:
        """A verifying client believes its own roots only, and the right name only."""
        server = TLSContexts([self.one])
        believing = TLSContexts([], trust_roots=self.one.certificate)
        self.assertEqual(self.shake(server, believing, "one.test", True)[0], "one.test")
        for client, host in ((TLSContexts([]), "one.test"), (believing, "wrong.test")):
            with self.assertRaises(SSL.Error):
                self.shake(server, client, host, True)

    def test_bad_files(self) -> None:
        """Missing files, a foreign key and noise are told at start."""
        (self.folder / "noise").write_text("noise")
        for paths in (
            CertificatePaths("/nonexistent", self.one.key),
            CertificatePaths(self.one.certificate, self.two.key),
            CertificatePaths(str(self.folder / "noise"), self.one.key),
            CertificatePaths(self.one.certificate, str(self.folder / "noise")),
        ):
            with self.assertRaises(BadCertificate):
                TLSContexts([paths])

    def test_no_certificate(self) -> None:
        """Without a certificate there is no TLS to offer."""
        self.assertIsNone(TLSContexts([]).for_server())

    def test_key_is_ours_alone(self) -> None:
        """The key's file has mode 0600, and an existing one is not written over."""
        self.assertEqual(stat.S_IMODE(os.stat(self.one.key).st_mode), 0o600)
        with self.assertRaises(FileExistsError):
            make_self_signed("one.test", self.one.certificate, self.one.key)
