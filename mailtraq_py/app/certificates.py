"""
The certificates that a configuration names.
"""

from __future__ import annotations

from typing import Any

from mailtraq_py.net.tls import BadCertificate, CertificatePaths, TLSContexts

from .config import Configuration, ConfigurationError


def read_certificates(configuration: Configuration) -> TLSContexts:
    """
    Read all certificates and keys; none where no file is named.

    Whom the server becomes must be able to read them, since a renewed certificate is taken while it runs: so this is
    called as that user.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    tables: list[Any] = [configuration.keys.tls, *configuration.keys.tls.names]
    try:
        return TLSContexts(
            [
                CertificatePaths(
                    str(configuration.path(table.certificate)), str(configuration.path(table.key or table.certificate))
                )
                for table in tables
                if table.certificate
            ]
        )
    except BadCertificate as error:
        raise ConfigurationError([configuration.problem(str(error), "tls")]) from None
