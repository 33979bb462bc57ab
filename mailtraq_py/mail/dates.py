"""
Dates as mail writes them: the Date field, IMAP's internal date, calendar days.

Times are seconds since the epoch, UTC; days are calendar days since 1 January 1970. Nothing here tells the
time: callers bring it.

RFC 5322 3.3 and 4.3, RFC 9051 9 (date-time, date)
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import NamedTuple

DAY_SECONDS = 86400

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_TWO_DIGITS = tuple(f"{number:02}" for number in range(60))
_MINUTES = tuple(f"{hour:02}:{minute}:" for hour in range(24) for minute in _TWO_DIGITS)

# RFC 5322 4.3: these names have a meaning; the military letters do not ("-0000"), nor does any other name.
_ZONE_HOURS = {"est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7}

# A Date field is at most this long before it is no date to us, comments included.
_DATE_MAX_OCTETS = 256

_TIME = r"(\d{1,2})\s*[:.]\s*(\d{1,2})(?:\s*[:.]\s*(\d{1,2})(?:[.,]\d+)?)?"
_ZONE = r"(?:\s*([+-]\d{4}|[A-Za-z]+))?"
_DATE = re.compile(
    rf"\s*(?:[A-Za-z]+\s*[.,]?\s*)?(\d{{1,2}})[\s-]+([A-Za-z]{{3}})[A-Za-z]*[.,]?[\s-]+(\d{{2,4}})"
    rf"(?:\s*,?\s+{_TIME}{_ZONE})?(?![0-9])",
    re.ASCII,
)
_ASCTIME = re.compile(rf"\s*[A-Za-z]+,?\s+([A-Za-z]{{3}})[a-z]*\s+(\d{{1,2}})\s+{_TIME}{_ZONE}\s+(\d{{4}})", re.ASCII)
# Nearly all dates are written like this, and what this matches means the same to _DATE.
_USUAL_DATE = re.compile(
    rb" ?(?:[A-Z][a-z][a-z], )?(\d\d? [A-Z][a-z][a-z] \d{4}) (\d\d):(\d\d):(\d\d) ([+-]\d{4})(?![0-9])"
)
_INTERNAL_DATE = re.compile(
    r"([ 0-3]?\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\Z", re.ASCII
)
_IMAP_DAY = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d{4})\Z", re.ASCII)


class SentDate(NamedTuple):
    """A Date field: the instant, and the calendar day as its writer saw it (RFC 9051 6.4.4, SENTON)."""

    seconds: int
    day: int


def print_date(seconds: float, zone_minutes: int = 0) -> str:
    """
    Print a date-time as header fields have it: `Sun, 22 Nov 2026 04:23:58 +0000`.

    RFC 5322 3.3
    """
    day, second = divmod(int(seconds) + zone_minutes * 60, DAY_SECONDS)
    return f"{_field_day(day)} {_clock(second)} {_zone(zone_minutes)}"


def print_internal_date(seconds: float, zone_minutes: int = 0) -> str:
    """
    Print a date-time as IMAP has it, without its quotes: `22-Nov-2026 04:23:58 +0000`.

    RFC 9051 9 (date-time)
    """
    day, second = divmod(int(seconds) + zone_minutes * 60, DAY_SECONDS)
    return f"{_internal_day(day)} {_clock(second)} {_zone(zone_minutes)}"


def parse_date(text: str | bytes) -> SentDate | None:
    """
    Read a Date field's value, folded or not, leniently: weekday and seconds may be missing, two-digit years,
    obsolete zones, asctime's order and comments are understood. A date without time is midnight UTC.

    Returns:
        None where no date can be seen; never raises.

    RFC 5322 3.3, 4.3
    """
    if isinstance(text, bytes):
        usual = _USUAL_DATE.match(text)
        if usual is not None:
            words, hour, minute, second, zone = usual.groups()
            return _sent_date(_usual_day(words), int(hour), int(minute), int(second), _usual_zone(zone))
        text = text[:_DATE_MAX_OCTETS].decode("latin-1")
    return _parse_any_date(text[:_DATE_MAX_OCTETS])


def _parse_any_date(text: str) -> SentDate | None:
    match = _DATE.match(text)
    if match is None and "(" in text:
        match = _DATE.match(text := _without_comments(text))
    if match is not None:
        day, month, year, hour, minute, second, zone = match.groups()
    else:
        match = _ASCTIME.match(text)
        if match is None:
            return None
        month, day, hour, minute, second, zone, year = match.groups()
    number = _day_number(_full_year(year), month, int(day))
    return _sent_date(number, int(hour or 0), int(minute or 0), int(second or 0), _zone_seconds(zone))


def _sent_date(day: int | None, hours: int, minutes: int, seconds: int, zone_seconds: int) -> SentDate | None:
    if day is None or hours > 24 or minutes > 59 or seconds > 60:
        return None
    return SentDate(day * DAY_SECONDS + hours * 3600 + minutes * 60 + seconds - zone_seconds, day)


def parse_internal_date(text: str) -> int:
    """
    Read IMAP's date-time, without its quotes.

    Raises:
        ValueError: it is none.

    RFC 9051 9 (date-time)
    """
    match = _INTERNAL_DATE.match(text)
    if match is None:
        raise ValueError("bad date-time")
    day, month, year, hour, minute, second, sign, zone_hour, zone_minute = match.groups()
    number = _day_number(int(year), month, int(day))
    clock = (int(hour), int(minute), int(second))
    if number is None or clock > (23, 59, 60) or clock[1] > 59 or clock[2] > 60 or int(zone_minute) > 59:
        raise ValueError("bad date-time")
    zone = int(zone_hour) * 3600 + int(zone_minute) * 60
    local = number * DAY_SECONDS + clock[0] * 3600 + clock[1] * 60 + clock[2]
    return local + zone if sign == "-" else local - zone


def parse_day(text: str) -> date:
    """
    Read IMAP's date, `1-Feb-2026`, without quotes.

    Raises:
        ValueError: it is none.

    RFC 9051 9 (date)
    """
    match = _IMAP_DAY.match(text)
    month = _MONTH_NUMBERS.get(match[2].lower()) if match else None
    if match is None or month is None:
        raise ValueError("bad date")
    return date(int(match[3]), month, int(match[1]))


def day_number(day: date) -> int:
    """A calendar day as days since 1 January 1970, the form of `ContentFacts.sent_day`."""
    return day.toordinal() - _EPOCH_ORDINAL


def day_of(seconds: float, zone_minutes: int = 0) -> int:
    """The calendar day (days since 1 January 1970) of an instant, seen from a zone."""
    return (int(seconds) + zone_minutes * 60) // DAY_SECONDS


@lru_cache(maxsize=1024)
def _day_number(year: int, month: str, day: int) -> int | None:
    number = _MONTH_NUMBERS.get(month.lower())
    if number is None or not 1 <= year <= 9999:
        return None
    try:
        return date(year, number, day).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _usual_day(words: bytes) -> int | None:
    day, month, year = words.decode("ascii").split(" ")
    return _day_number(int(year), month, int(day))


def _full_year(digits: str) -> int:
    """RFC 5322 4.3: 00-49 are of this century, 50-99 of the last, three digits count from 1900."""
    year = int(digits)
    if len(digits) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(digits) == 3 else year


def _zone_seconds(zone: str | None) -> int:
    if not zone:
        return 0
    if zone[0] in "+-":
        seconds = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
        return -seconds if zone[0] == "-" else seconds
    return _ZONE_HOURS.get(zone.lower(), 0) * 3600


@lru_cache(maxsize=256)
def _usual_zone(zone: bytes) -> int:
    return _zone_seconds(zone.decode("ascii"))


def _without_comments(text: str) -> str:
    kept: list[str] = []
    depth = 0
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif depth and character == "\\":
            escaped = True
        elif character == "(":
            depth += 1
        elif character == ")" and depth:
            depth -= 1
            kept.append(" ")
        elif not depth:
            kept.append(character)
    return "".join(kept)


@lru_cache(maxsize=512)
def _field_day(day: int) -> str:
    value = date.fromordinal(day + _EPOCH_ORDINAL)
    return f"{_WEEKDAYS[value.weekday()]}, {value.day} {_MONTHS[value.month - 1]} {value.year:04}"


@lru_cache(maxsize=4096)
def _internal_day(day: int) -> str:
    # date-day-fixed: a space stands where the first digit would.
    value = date.fromordinal(day + _EPOCH_ORDINAL)
    return f"{value.day:2}-{_MONTHS[value.month - 1]}-{value.year:04}"


def _clock(second: int) -> str:
    minute, second = divmod(second, 60)
    return _MINUTES[minute] + _TWO_DIGITS[second]


def _zone(minutes: int) -> str:
    if not minutes:
        return "+0000"
    sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
    return f"{sign}{minutes // 60:02}{minutes % 60:02}"
