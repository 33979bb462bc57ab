"""
The smarthost's password, from the file that `outbound.smarthost_password_file` names.

It is read when policy is judged and when the server is built, each time as whom the server becomes.
"""

from __future__ import annotations

import stat
from pathlib import Path

from .config import Configuration, ConfigurationError, ConfigurationProblem

PASSWORD_MAX_OCTETS = 1024

_KEY = ("outbound", "smarthost_password_file")


def smarthost_password(configuration: Configuration, problems: list[object] | None = None) -> bytes:
    """
    The password; b"" where no login is configured.

    Args:
        problems: takes what is wrong, which is then not raised.

    Raises:
        ConfigurationError: the file cannot be read, or holds no password.
    """
    name = configuration.keys.outbound.smarthost_password_file
    if not name or configuration.is_wrong(*_KEY):
        return b""
    path = configuration.path(name)
    try:
        return _first_line(path)
    except OSError as error:
        problem = configuration.problem(f"{path}: {error.strerror}", *_KEY)
    except ValueError as error:
        problem = configuration.problem(f"{path}: {error}", *_KEY)
    if problems is None:
        raise ConfigurationError([problem])
    problems.append(problem)
    return b""


def smarthost_doubts(configuration: Configuration) -> list[ConfigurationProblem]:
    """A password that everybody on this machine may read."""
    name = configuration.keys.outbound.smarthost_password_file
    path = configuration.path(name)
    if not name or not path.is_file() or not path.stat().st_mode & stat.S_IROTH:
        return []
    return [configuration.problem(f"{path} can be read by everybody here; chmod o-r it", *_KEY)]


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        lines = file.read(PASSWORD_MAX_OCTETS + 2).splitlines()
    if len(lines) != 1 or not lines[0]:
        raise ValueError("must hold one line, the password")
    if len(lines[0]) > PASSWORD_MAX_OCTETS:
        raise ValueError(f"a password has at most {PASSWORD_MAX_OCTETS} octets")
    if b"\0" in lines[0]:
        # RFC 4616 2: NUL parts the fields of PLAIN.
        raise ValueError("a password has no NUL")
    return lines[0]
