"""
The cutting law: however the input is cut, a core gives the same events and the same output.

`assert_cutting_law(test, make_core, octets, answer)` feeds the octets whole, one by one, and cut in two at each
place. `answer(core, event)` plays the session: it must reply to each command. Events with an attribute `piece` that
follow one another are pieces of one string, so they are joined before the comparison.

A dialogue whose client must wait in the middle is given as a list of turns: a turn is sent when all of the one before
has been answered, and the cuts are within the turns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mailtraq_py.wire.signals import NEED_DATA, PAUSED, Close

Answer = Callable[[Any, Any], None]
Heard = tuple[list[object], bytes]


def feed(make_core: Callable[[], Any], pieces: Sequence[bytes], answer: Answer) -> Heard:
    """
    Give a fresh core the pieces, one after the other, and answer its events.

    Returns:
        the events, pieces joined, and all octets that the core wanted to send. After a `Close` nothing more is fed.

    Raises:
        AssertionError: `answer` left a command without its reply.
    """
    core = make_core()
    events: list[object] = []
    output = [core.data_to_send()]
    for piece in pieces:
        core.receive_data(piece)
        while (event := core.next_event()) is not NEED_DATA:
            if event is PAUSED:
                raise AssertionError(f"no reply was given for {events[-1]!r}")
            _add(events, event)
            if isinstance(event, Close):
                output.append(core.data_to_send())
                return events, b"".join(output)
            answer(core, event)
        output.append(core.data_to_send())
    return events, b"".join(output)


def cuts(turns: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Each turn whole; every turn one octet at a time; and each place of each turn cut in two."""
    yield list(turns)
    yield [turn[place : place + 1] for turn in turns for place in range(len(turn))]
    for number, turn in enumerate(turns):
        for place in range(1, len(turn)):
            yield [*turns[:number], turn[:place], turn[place:], *turns[number + 1 :]]


def assert_cutting_law(
    test: Any, make_core: Callable[[], Any], octets: bytes | Sequence[bytes], answer: Answer
) -> Heard:
    """
    Fail unless each way to cut the input gives the same events and output.

    Returns:
        what was heard, for the test to look at.
    """
    turns = [octets] if isinstance(octets, bytes) else list(octets)
    expected = feed(make_core, turns, answer)
    for pieces in cuts(turns):
        heard = feed(make_core, pieces, answer)
        test.assertEqual(heard, expected, f"cut as {[len(piece) for piece in pieces]}")
    return expected


def _add(events: list[object], event: Any) -> None:
    last: Any = events[-1] if events else None
    if hasattr(event, "piece") and type(last) is type(event):
        events[-1] = dataclasses.replace(last, piece=bytes(last.piece) + bytes(event.piece))
    else:
        events.append(event)
