"""
TLS contexts: ITLSContexts over PEM files, chosen by SNI, read again when the files change.

One creator serves all accepted connections of all services. For each new connection it hands out the default
certificate's context, whose SNI callback changes to the context of the name asked for. A look at the files' times,
once a second at most, replaces the contexts; connections that run keep theirs. Files that cannot be read together (a
certificate and another certificate's key, half a file) leave the contexts in force until they change again.

RFC 8446, RFC 6066 3, RFC 8996, RFC 7435 (opportunistic, towards other servers)
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from zope.interface import implementer

from mailtraq_py.interfaces.net import ITLSContexts

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class CertificatePaths:
    """
    PEM files: a certificate with its chain behind it, and its key. `names` are for SNI; () means the
    certificate's own.
    """

    certificate: str
    key: str
    names: tuple[str, ...] = ()


class BadCertificate(Exception):
    """The files do not hold a certificate and its key; the message says which and why."""


@implementer(ITLSContexts)
class TLSContexts:
    """
    Args:
        certificates: the first is the default; () for a server without TLS.
        trust_roots: a PEM file of the authorities to believe when a peer is verified, "" for the platform's.

    Raises:
        BadCertificate: at start. Later the contexts in force stay and the log says why.
    """

    def __init__(self, certificates: Sequence[CertificatePaths], trust_roots: str = "") -> None:
        self._server = _ServerContexts(certificates) if certificates else None
        self._trust_root = _read_trust_roots(trust_roots) if trust_roots else platformTrust()  # type: ignore[no-untyped-call]
        self._unverified = CertificateOptions(
            raiseMinimumTo=TLSVersion.TLSv1_2, enableSessions=True, enableSessionTickets=True
        )

    def for_server(self) -> Any | None:
        """The one creator, None without a certificate."""
        return self._server

    def for_client(self, host: str, verify: bool) -> Any:
        """
        A connection creator towards `host` (a name or an IP address).

        Unverified it hides the talk from listeners only (RFC 7435 3): what MX hosts without further promises get.
        """
        if verify:
            return optionsForClientTLS(host, trustRoot=self._trust_root)
        return _Unverified(self._unverified.getContext(), host)


@implementer(IOpenSSLServerConnectionCreator)
class _ServerContexts:
    log = Logger()

    def __init__(self, certificates: Sequence[CertificatePaths]) -> None:
        self._certificates = certificates
        self._by_name: dict[bytes, SSL.Context] = {}
        self._default: SSL.Context
        self._marks = self._look()
        self._looked = time.monotonic()
        self._load()

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._reload()
        return SSL.Connection(self._default, None)

    def _reload(self) -> None:
        marks = self._look()
        if marks == self._marks:
            return
        self._marks = marks
        try:
            self._load()
        except BadCertificate as error:
            self.log.error("tls-reload", event="tls-reload", ok=False, reason=str(error))
            return
        self.log.info("tls-reload", event="tls-reload", ok=True)

    def _look(self) -> list[tuple[int, int, int]]:
        marks = []
        for paths in self._certificates:
            for path in (paths.certificate, paths.key):
                try:
                    status = os.stat(path)
                    # The inode's time: it moves with the content, the name, and who may read it.
                    marks.append((status.st_ctime_ns, status.st_ino, status.st_size))
                except OSError:
                    marks.append((0, 0, 0))
        return marks

    def _load(self) -> None:
        contexts = []
        by_name: dict[bytes, SSL.Context] = {}
        for paths in self._certificates:
            context, names = _read_context(paths)
            context.set_tlsext_servername_callback(self._choose)
            contexts.append(context)
            for name in names:
                by_name.setdefault(name.lower().encode("ascii", "replace"), context)
        self._default, self._by_name = contexts[0], by_name

    def _choose(self, connection: SSL.Connection) -> None:
        name = connection.get_servername()
        if not name:
            return
        name = name.lower()
        context = self._by_name.get(name) or self._by_name.get(b"*." + name.partition(b".")[2])
        if context is not None:
            connection.set_context(context)


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    def __init__(self, context: SSL.Context, host: str) -> None:
        self._context = context
        self._host = host

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        # RFC 6066 3: a literal address is no server name.
        if self._host and not self._host.replace(".", "").isdigit() and ":" not in self._host:
            connection.set_tlsext_host_name(self._host.encode("ascii", "ignore"))
        return connection


def _read_context(paths: CertificatePaths) -> tuple[SSL.Context, tuple[str, ...]]:
    """One certificate's context, and the names it is for."""
    chain = _read_chain(paths.certificate)
    try:
        key: Any = load_pem_private_key(_read_file(paths.key), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadCertificate(f"{paths.key}: no private key in PEM form without a passphrase") from None
    try:
        # pyOpenSSL takes cryptography's values and deprecates its own, which Twisted's annotations still name.
        leaf: Any = chain[0]
        rest: Any = chain[1:]
        options = CertificateOptions(
            privateKey=key,
            certificate=leaf,
            extraCertChain=rest,
            raiseMinimumTo=TLSVersion.TLSv1_2,
            enableSessions=True,
            enableSessionTickets=True,
        )
        context = options.getContext()
        context.check_privatekey()
    except SSL.Error:
        raise BadCertificate(f"{paths.key}: not the key of {paths.certificate}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadCertificate(f"{paths.certificate}, {paths.key}: {error or type(error).__name__}") from error
    # A client that renegotiates makes us work for nothing.
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    return context, paths.names or _names(chain[0])


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(alternatives.value.get_values_for_type(x509.DNSName))


def _read_trust_roots(path: str) -> Any:
    roots = _read_chain(path)
    certificates = [Certificate(crypto.X509.from_cryptography(root)) for root in roots]  # type: ignore[no-untyped-call]
    return trustRootFromCertificates(certificates)  # type: ignore[no-untyped-call]


def _read_chain(path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read_file(path))
    except ValueError:
        raise BadCertificate(f"{path}: no certificate in PEM form") from None


def _read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadCertificate(f"{path}: {error.strerror}") from None
