"""
Programs of Debian that tests speak to.
"""

from __future__ import annotations

import shutil


def program(name: str, package: str = "") -> str:
    """A Debian program's path; says how to install a missing one."""
    path = shutil.which(name)
    if path is None:
        raise AssertionError(f"{name} is not installed: apt-get install {package or name}")
    return path
