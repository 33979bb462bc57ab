"""Tests of dates, against Python's own reading and printing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.dates import (
    SentDate,
    day_number,
    day_of,
    parse_date,
    parse_day,
    parse_internal_date,
    print_date,
    print_internal_date,
)

SECONDS = st.integers(-2_000_000_000, 10_000_000_000)
ZONES = st.integers(-12 * 60, 14 * 60)


# Mostly dates of the usual form, some in pieces, some impossible.
DATE_PIECES = st.sampled_from(
    [
        "Sun, ", "sun, ", "22 ", "1 ", "31 ", "99 ", "Nov ", "Feb ", "Foo ", "2026 ", "0000 ", "26 ", "04:23:58 ",
        "25:00:00 ", "04:23:61 ", "4:23 ", "+0000", "-0130", "+000", "GMT", " ", "Sun, 22 Nov 2026 ",
        "22 Nov 2026 04:23:58 ", "04:23:58 +0200",
    ]
)  # fmt: skip


def at(seconds: int, zone: int) -> datetime:
    """An instant in a zone, as Python has it."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.astimezone(timezone(timedelta(minutes=zone)))


class DateFieldTests(SynchronousTestCase):
    """The Date field."""

    @settings(max_examples=300, deadline=None)
    @given(SECONDS, ZONES)
    def test_against_python(self, seconds: int, zone: int) -> None:
        """Printed as Python prints it; read back with the writer's calendar day."""
        moment = at(seconds, zone)
        printed = print_date(seconds, zone)
        self.assertEqual(moment, parsedate_to_datetime(printed))
        self.assertEqual(format_datetime(moment), printed.replace(", ", ", 0") if moment.day < 10 else printed)
        self.assertEqual(SentDate(seconds, day_number(moment.date())), parse_date(printed))
        self.assertEqual(SentDate(seconds, day_number(moment.date())), parse_date(printed.encode()))

    def test_lenient(self) -> None:
        """Obsolete and careless forms of one instant."""
        expected = SentDate(1795321438, 20779)
        for text in (
            "Sun, 22 Nov 2026 04:23:58 +0000",
            b" Sun,\r\n 22 Nov 2026 04:23:58 GMT",
            "22 Nov 26 04:23:58 UT",
            "Sunday, 22-Nov-26 4:23:58 Z",
            "Sun Nov 22 04:23:58 2026",
            "Sun, 22 (day (of) rest) Nov 2026 04:23:58 -0000 (UTC)",
            "Sun, 22 Nov 2026 04.23.58",
            "Sun, 22 November 2026 04:23:58.250 +0000",
        ):
            self.assertEqual(expected, parse_date(text), text)

    @settings(max_examples=300, deadline=None)
    @given(st.lists(DATE_PIECES, max_size=6).map("".join))
    def test_usual_dates(self, text: str) -> None:
        """The dates that are read at a glance, as only octets are, are read the same the long way."""
        for mutated in (text, text + " (UTC)", " " + text, text + "0"):
            self.assertEqual(parse_date(mutated), parse_date(mutated.encode()))

    def test_zones(self) -> None:
        """Zones move the instant and leave the day as written."""
        self.assertEqual(SentDate(1795321438 + 5 * 3600, 20779), parse_date("22 Nov 2026 04:23:58 EST"))
        self.assertEqual(SentDate(1795321438 - 19800, 20779), parse_date("22 Nov 2026 04:23:58 +0530"))

    def test_years(self) -> None:
        """Two and three digits (RFC 5322 4.3)."""
        for text, year in (("49", 2049), ("50", 1950), ("99", 1999), ("126", 2026), ("2026", 2026)):
            found = parse_date(f"1 Jan {text} 00:00 +0000")
            self.assertEqual(day_number(date(year, 1, 1)), found and found.day)

    def test_no_dates(self) -> None:
        """What is no date has none."""
        for text in ("", "yesterday", "31 Feb 2026 00:00 +0000", "1 Foo 2026 00:00", "1 Jan 2026 25:00", "0 Jan 2026"):
            self.assertIsNone(parse_date(text), text)
        self.assertIsNone(parse_date(b"(" * 100_000))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=60) | st.text("0123456789 :,-+JanGMT()", max_size=40))
    def test_anything(self, text: bytes | str) -> None:
        """Nothing makes it raise."""
        parse_date(text)


class InternalDateTests(SynchronousTestCase):
    """IMAP's dates."""

    @settings(max_examples=200, deadline=None)
    @given(st.integers(0, 10_000_000_000), ZONES)
    def test_round_trip(self, seconds: int, zone: int) -> None:
        """What is printed is read back."""
        self.assertEqual(seconds, parse_internal_date(print_internal_date(seconds, zone)))

    def test_form(self) -> None:
        """The day has two places (RFC 9051 9, date-day-fixed)."""
        self.assertEqual(" 1-Feb-2026 01:02:03 +0000", print_internal_date(1769907723))
        self.assertEqual(" 1-Feb-2026 00:02:03 -0100", print_internal_date(1769907723, -60))
        self.assertEqual(1769907723, parse_internal_date("01-feb-2026 01:02:03 +0000"))

    def test_refused(self) -> None:
        """What is no date-time is an error."""
        for text in (
            "", "1-Feb-2026", "31-Feb-2026 00:00:00 +0000", " 1-Feb-2026 24:00:00 +0000", " 1-Feb-2026 00:60:00 +0000",
            " 1-Feb-2026 00:00:00 +0060", " 1-Feb-2026 00:00:00 GMT", " 1-Feb-2026 00:00:00 +0000x",
            "١-Feb-2026 00:00:00 +0000",
        ):  # fmt: skip
            self.assertRaises(ValueError, parse_internal_date, text)

    def test_days(self) -> None:
        """Calendar days for SEARCH."""
        self.assertEqual(date(2026, 2, 1), parse_day("1-Feb-2026"))
        self.assertEqual(date(2026, 2, 1), parse_day("01-FEB-2026"))
        for text in ("", "1 Feb 2026", "30-Feb-2026", "1-Foo-2026", "1-Feb-26", "1-Feb-0000"):
            self.assertRaises(ValueError, parse_day, text)
        self.assertEqual(0, day_number(date(1970, 1, 1)))
        self.assertEqual((0, -1, 1), (day_of(0), day_of(0, -1), day_of(86399, 1)))
