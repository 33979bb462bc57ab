"""
EXPN: who is on a distribution list. Whether a session may know is policy's question, asked before.

What is no list, an account and nobody at all are answered alike (attack S 22).

RFC 5321 3.5, 4.1.1.7
"""

from __future__ import annotations

from mailtraq_py.interfaces.directory import Expansion, IDirectory, LocalMailbox, Remote
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import ForwardPath
from mailtraq_py.mail.reply import Reply

NO_LIST = Reply(550, "no such list", "5.1.1")

_UNPRINTABLE = "(an internationalised address)"


async def expand(directory: IDirectory, text: str, default_domain: str) -> Reply:
    """
    Answer EXPN.

    Args:
        text: a list's address, or its local part in `default_domain`, with or without angle brackets.

    Raises:
        TemporaryFailure: the directory did not answer.
    """
    name = text.strip().removeprefix("<").removesuffix(">")
    try:
        path = ForwardPath(parse_address(name if "@" in name else f"{name}@{default_domain}"))
    except ValueError:
        return NO_LIST
    destination = await directory.resolve(path)
    if not isinstance(destination, Expansion) or destination.reverse_path is None:
        return NO_LIST
    return Reply(250, "\n".join(map(_printed, destination.members)), "2.1.5")


def _printed(member: LocalMailbox | Remote) -> str:
    address = member.account.address if isinstance(member, LocalMailbox) else str(member.path)
    # RFC 6531 3.7.4.2: only who asked for UTF-8 gets it.
    return f"<{address}>" if address.isascii() else _UNPRINTABLE
