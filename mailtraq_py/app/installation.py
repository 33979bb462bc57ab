"""
A fresh installation: the configuration, its folders with safe modes, a self-signed certificate.

    DIR/mailtraq.toml       0640
    DIR/tls/cert.pem        0644      DIR/tls/key.pem  0600
    DIR/var/                0700      the store and everything else that is written
"""

from __future__ import annotations

import os
from pathlib import Path

from mailtraq_py.mail.address import fold_domain
from mailtraq_py.net.selfsigned import make_self_signed

from .privileges import Identity, make_private_folder

CONFIGURATION_NAME = "mailtraq.toml"


def install(directory: Path, text: str, hostname: str, owner: Identity | None = None) -> Path:
    """
    Write an installation into a folder, which is made if it is not there.

    Args:
        directory: where.
        text: the configuration file; it names `tls/cert.pem`, `tls/key.pem` and `var`.
        hostname: for the certificate.
        owner: who shall own what the server reads and writes; None for whoever runs this.

    Returns:
        the configuration file.

    Raises:
        FileExistsError: a configuration or a key is there already; nothing was changed.
        ValueError: `hostname` is no host name.
        OSError: a file cannot be written.
    """
    try:
        fold_domain(hostname)
    except ValueError as error:
        raise ValueError(f'"{hostname}" is no host name: {error}') from None
    file, key = directory / CONFIGURATION_NAME, directory / "tls" / "key.pem"
    for existing in (file, key):
        if existing.exists():
            raise FileExistsError(17, os.strerror(17), str(existing))
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("tls", "var"):
        make_private_folder(directory / name, owner)
    certificate = key.with_name("cert.pem")
    make_self_signed(hostname, str(certificate), str(key))
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    if owner is not None:
        for written in (file, key, certificate):
            os.chown(written, owner.uid, owner.gid)
    return file
