"""
What a reload brings into force, and what waits for a restart.

    SIGHUP        the file is read again, with all its lists; judged and built in a thread; then it is in force
    list files    looked at every few seconds; a changed one alone is read again, and a bad one leaves the old list

Policy comes into force with the next command: the LAN, recent logins, barring, lists, recipients, the journal, and of
each service that is already there access and relaying. What sockets, store and queue were made from does not change
while they live.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread
from zope.interface import Interface

from .config import Configuration, ConfigurationError, look_at
from .listfiles import ListFiles

_SERVER_KEYS = (
    "hostname",
    "data_dir",
    "default_domain",
    "user",
    "group",
    "workers",
    "one_process",
    "store",
    "tls",
    "outbound",
    "log",
    "limits",
    "timeouts",
    "history",
    "metrics",
    "deleted",
)
_SERVICE_KEYS = ("role", "listen", "tls", "max_connections", "max_connections_per_address")


def keys_that_need_restart(running: Configuration, fresh: Configuration) -> tuple[str, ...]:
    """The keys whose values differ and that only a restart brings into force, as an administrator writes them."""
    differing = [key for key in _SERVER_KEYS if getattr(running.keys, key) != getattr(fresh.keys, key)]
    before = {(path[0], service.name): service for path, service in running.services()}
    after = {(path[0], service.name): service for path, service in fresh.services()}
    for key in before.keys() | after.keys():
        word, name = key
        if key not in before or key not in after:
            differing.append(f"{word} {name}")
            continue
        differing += [
            f"{word} {name}.{option}"
            for option in _SERVICE_KEYS
            if getattr(before[key], option, None) != getattr(after[key], option, None)
        ]
    return tuple(sorted(differing))


@dataclass(frozen=True, slots=True)
class Reload:
    """
    What came of a reload. `number` is that of the configuration in force afterwards; with `errors` it is the one from
    before. `restart` names keys that only a restart brings into force.
    """

    number: int
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListRenewal:
    """What came of a changed list file; with `errors` the old list stays in force."""

    file: str
    number: int
    errors: tuple[str, ...] = ()


class IGoverned(Interface):
    """What configurations come into force in: this process's server, or all workers of a supervisor."""

    def judged(configuration: Configuration, lists: ListFiles, number: int) -> tuple[Any, tuple[str, ...]]:
        """
        Judge a configuration; it may take seconds, and any thread may do it.

        Returns:
            what is for `take`, and warnings.

        Raises:
            ConfigurationError: it has errors, or would relay for strangers.
        """

    async def take(fresh: Any) -> None:
        """Bring it into force; it is, everywhere, when this returns."""


class Reloads:
    """
    Brings configurations into force, one at a time; each has its number.

    Args:
        running: what the server was started with.
        lists: its list files.
        server: what they come into force in.
        in_thread: calls a function off the reactor thread.
    """

    def __init__(
        self,
        running: Configuration,
        lists: ListFiles,
        server: IGoverned,
        in_thread: Callable[..., Awaitable[Any]] = deferToThread,
    ) -> None:
        self._started_with = running
        self._in_force = running
        self._lists = lists
        self._server = server
        self._in_thread = in_thread
        self._number = 1
        self._turn = DeferredLock()

    async def reload(self) -> Reload:
        """Read the file again and bring it into force, or leave the old one and say why."""
        await self._turn.acquire()
        try:
            configuration, lists, fresh, warnings = await self._in_thread(self._read)
        except ConfigurationError as error:
            return Reload(self._number, error.problems)
        else:
            await self._take(fresh)
            self._in_force, self._lists = configuration, lists
            return Reload(self._number, (), warnings, keys_that_need_restart(self._started_with, configuration))
        finally:
            self._turn.release()

    async def renew_lists(self) -> list[ListRenewal]:
        """Read the list files anew that changed; each stands or falls alone."""
        await self._turn.acquire()
        try:
            renewals = []
            for path in await self._in_thread(self._lists.changed):
                candidate = self._lists.without(path)
                try:
                    fresh, _ = await self._in_thread(
                        self._server.judged, self._in_force, candidate, self._number + 1
                    )
                except ConfigurationError as error:
                    self._lists.note_refused(path)
                    renewals.append(ListRenewal(str(path), self._number, error.problems))
                else:
                    await self._take(fresh)
                    self._lists = candidate
                    renewals.append(ListRenewal(str(path), self._number))
            return renewals
        finally:
            self._turn.release()

    async def stop(self) -> None:
        """Wait until nothing is being read; nothing will be any more."""
        await self._turn.acquire()

    def _read(self) -> tuple[Configuration, ListFiles, Any, tuple[str, ...]]:
        fresh, lists = look_at(self._started_with.file), ListFiles()
        return (fresh, lists, *self._server.judged(fresh, lists, self._number + 1))

    async def _take(self, fresh: Any) -> None:
        await self._server.take(fresh)
        self._number += 1
