"""A self-signed certificate and TLS contexts of both sides, made once per run; for tests that do real TLS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions
from zope.interface import implementer


@cache
def pair() -> tuple[bytes, bytes]:
    """Certificate and private key of "localhost" as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


@cache
def server_context() -> CertificateOptions:
    """What `startTLS` takes on the accepting side."""
    certificate, key = pair()
    return CertificateOptions(
        privateKey=load_pem_private_key(key, None), certificate=x509.load_pem_x509_certificate(certificate)
    )


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """The connecting side; looks at no certificate."""

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """A connection in client mode."""
        return SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)


def client_context() -> Any:
    """What `startTLS` takes on the connecting side."""
    return _Unverified()
