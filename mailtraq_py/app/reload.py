"""
What a reload brings into force, and what waits for a restart.

Policy comes into force with the next command: the LAN, recent logins, barring, lists, and of each service that is
already there access and relaying. What sockets, store and queue were made from does not change while they live.
"""

from __future__ import annotations

from .config import Configuration

_SERVER_KEYS = (
    "hostname",
    "data_dir",
    "default_domain",
    "user",
    "group",
    "store",
    "tls",
    "outbound",
    "log",
    "limits",
    "timeouts",
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
