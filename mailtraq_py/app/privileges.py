"""
Whom the process runs as: root binds the ports, the configured user serves; the command line works as the owner of
the data, so that no file in it ever belongs to root.
"""

from __future__ import annotations

import codecs
import grp
import os
import pwd
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Python reads a codec from its library at first use, and whom we become may not be allowed to read there
# (a Python that lives in root's home).
_CODECS = ("ascii", "latin-1", "cp1252", "utf-8-sig", "utf-16-be", "idna", "unicode_escape")


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and group of the system. `name` is "" for a user identifier without an entry."""

    uid: int
    gid: int
    name: str = ""


def find_identity(user: str, group: str = "") -> Identity:
    """
    The user called `user`, with `group` in place of its own group if that is given.

    Raises:
        ValueError: the system knows no such user or group.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ValueError(f'there is no user "{user}" on this system') from None
    if not group:
        return Identity(entry.pw_uid, entry.pw_gid, user)
    try:
        return Identity(entry.pw_uid, grp.getgrnam(group).gr_gid, user)
    except KeyError:
        raise ValueError(f'there is no group "{group}" on this system') from None


def owner_of(folder: Path) -> Identity | None:
    """Who owns a folder, or the nearest folder above it that exists; None when that is root."""
    while not folder.exists():
        folder = folder.parent
    status = folder.stat()
    if status.st_uid == 0:
        return None
    try:
        name = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        name = ""
    return Identity(status.st_uid, status.st_gid, name)


def is_root() -> bool:
    """Whether the process may still become somebody else."""
    return os.geteuid() == 0


def become(identity: Identity) -> None:
    """Give up root for good: supplementary groups, group, user, in this order, and make sure there is no way back."""
    for name in _CODECS:
        codecs.lookup(name)
    if identity.name:
        os.initgroups(identity.name, identity.gid)
    else:
        os.setgroups([identity.gid])
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    if identity.uid != 0 and 0 in os.getresuid():
        raise RuntimeError("root was not given up")


@contextmanager
def acting_as(identity: Identity | None) -> Iterator[None]:
    """Act as somebody for a while, and be root again afterwards; None: as whoever we are."""
    if identity is None:
        yield
        return
    uid, gid = os.geteuid(), os.getegid()
    os.setegid(identity.gid)
    os.seteuid(identity.uid)
    try:
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)


def closed_program(program: Sequence[str] = (sys.executable, os.__file__, __file__)) -> str:
    """
    The first of the files that make up the program - interpreter, library, ourselves - that whoever we act as may not
    use, "" when all are open. What we hold in memory goes on; a process that is started anew does not.
    """
    for path in program:
        if not os.access(path, os.X_OK if path == sys.executable else os.R_OK, effective_ids=True):
            return os.path.realpath(path)
    return ""


def make_private_folder(folder: Path, owner: Identity | None = None) -> None:
    """Make a folder, and those above it, readable by its owner alone; one that is there keeps its mode."""
    missing = [folder]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for each in reversed(missing):
        if not each.exists():
            each.mkdir(mode=0o700)
            if owner is not None:
                os.chown(each, owner.uid, owner.gid)
