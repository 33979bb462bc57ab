"""
Whether the certificates of a configuration can be used, asked of OpenSSL without all that a server loads for TLS.
"""

from __future__ import annotations

import ssl

from .config import Configuration, ConfigurationProblem
from .tomllines import KeyPath


def check_certificates(configuration: Configuration) -> list[ConfigurationProblem]:
    """What is wrong with certificates and keys; files that are missing are the configuration's own problems."""
    tls = configuration.keys.tls
    tables: list[tuple[KeyPath, str, str]] = [(("tls",), tls.certificate, tls.key)]
    tables += [(("tls", "names", index), name.certificate, name.key) for index, name in enumerate(tls.names)]
    found = []
    for path, certificate, key in tables:
        if not certificate or any(configuration.is_wrong(*path, word) for word in ("certificate", "key")):
            continue
        reason = _judge(str(configuration.path(certificate)), str(configuration.path(key or certificate)))
        if reason:
            found.append(configuration.problem(reason, *path))
    return found


def _judge(certificate: str, key: str) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(certificate)
    except ssl.SSLError:
        return f"{certificate}: no certificate in PEM form"
    except OSError as error:
        return f"{certificate}: {error.strerror}"
    try:
        # A passphrase would be asked for on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"{key}: not the key of {certificate}"
        return f"{key}: no private key in PEM form without a passphrase"
    except OSError as error:
        return f"{key}: {error.strerror}"
    return ""
