"""
What happened to a mailbox: a closed family of values, told in one order, to their author too.

RFC 9051 7.4, RFC 7162 3
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .uidset import UIDSet


@dataclass(frozen=True, slots=True)
class MailboxChanged:
    """
    A hint after a commit: this mailbox has news up to this MODSEQ. It may come twice, late or merged;
    the hearer reads what changed since its own MODSEQ.
    """

    mailbox_id: int
    mod_seq: int


@dataclass(frozen=True, slots=True)
class MailboxGone:
    """The mailbox was deleted; sessions that have it selected end their selection."""

    mailbox_id: int


@dataclass(frozen=True, slots=True)
class MailboxesChanged:
    """The tree of an account changed (created, deleted, renamed, subscribed)."""

    account_id: int


@dataclass(frozen=True, slots=True)
class AccountRevoked:
    """The account was disabled, deleted or given a new password: its sessions close."""

    account_id: int


@dataclass(frozen=True, slots=True)
class QueueGrew:
    """Outbound rows were committed that are due at this time (seconds since the epoch)."""

    due: float


Change = MailboxChanged | MailboxGone | MailboxesChanged | AccountRevoked | QueueGrew


class MessageState(NamedTuple):
    """
    One message's flags at one MODSEQ; `flags` has no `\\Recent`. A named tuple, because a STORE makes as many of them
    as there are messages, and it costs half of what a dataclass does.
    """

    uid: int
    mod_seq: int
    flags: frozenset[str]


class StateRun(NamedTuple):
    """Messages of neighbouring UIDs, all of them there, that have the same flags and MODSEQ."""

    low: int
    high: int
    mod_seq: int
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class MailboxDelta:
    """
    What changed in a mailbox between two MODSEQs: new and changed messages in rising UID order, UIDs
    that were expunged, and the MODSEQ up to which this is all.
    """

    mod_seq: int
    changed: tuple[MessageState, ...]
    vanished: UIDSet
