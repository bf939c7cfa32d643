"""Times on the command line: dates, lengths and the windows of a brownout, all in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from compat_auth.errors import InvalidValue
from compat_auth.stages.rules import DAY_S, WEEK_S, Window

# 1970-01-01 was a Thursday.
_DAYS = {name: (number - 3) % 7 for number, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))}
_LENGTH = re.compile(r"(\d{1,6})(s|m|h|d)\Z", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": DAY_S}
_TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d))?\Z", re.ASCII)
_FORMS = "'2027-01-11T09:00:00Z/2027-01-11T10:00:00Z', 'daily 09:00 15m' or 'weekly mon 09:00 1h'"


def parse_moment(text: str, *, option: str) -> int:
    """Return a date, or a date with a time, in seconds since the epoch; without an offset it is UTC.

    Raises:
        InvalidValue: It is neither.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidValue(f"{option}: {text!r}: write 2027-01-31, or 2027-01-31T09:00:00Z") from None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    second = found.timestamp()
    if second < 0 or second != int(second):
        raise InvalidValue(f"{option}: {text!r}: a whole second since 1970")
    return int(second)


def parse_window(text: str) -> Window:
    """Return the window that a text spells: `START/END`, `daily TIME LENGTH` or `weekly DAY TIME LENGTH`.

    Raises:
        InvalidValue: It spells none.
    """
    if "/" in text:
        start, _, end = text.partition("/")
        begins = parse_moment(start, option="--window")
        return Window(begins, parse_moment(end, option="--window") - begins)
    match text.lower().split():
        case ["daily", time, length]:
            return Window(_second_of_day(time, text), _length_s(length, text), DAY_S)
        case ["weekly", day, time, length] if day in _DAYS:
            return Window(_DAYS[day] * DAY_S + _second_of_day(time, text), _length_s(length, text), WEEK_S)
        case _:
            raise InvalidValue(f"--window: {text!r}: write {_FORMS}")


def spell_window(window: Window) -> str:
    """Return the text that spells a window."""
    if not window.every_s:
        return f"{spell_moment(window.start)}/{spell_moment(window.start + window.length_s)}"
    second = window.start % DAY_S
    time = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    if window.every_s == DAY_S:
        return f"daily {time} {window.length_s}s"
    number = window.start // DAY_S % 7
    day = next(name for name, found in _DAYS.items() if found == number)
    return f"weekly {day} {time} {window.length_s}s"


def spell_moment(second: int) -> str:
    """Return a moment in seconds since the epoch as a date with a time, in UTC."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _second_of_day(time: str, text: str) -> int:
    match = _TIME.match(time)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (24, 0, 0)
    if hours > 23 or minutes > 59 or seconds > 59:
        raise InvalidValue(f"--window: {text!r}: the time is HH:MM or HH:MM:SS, in UTC")
    return hours * 3600 + minutes * 60 + seconds


def _length_s(length: str, text: str) -> int:
    match = _LENGTH.match(length)
    if match is None:
        raise InvalidValue(f"--window: {text!r}: a length is a number with s, m, h or d, such as 15m")
    return int(match.group(1)) * _SECONDS[match.group(2)]
