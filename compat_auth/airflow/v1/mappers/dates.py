"""Converts dates: RFC 3339 with a zone from clients, "+00:00" to clients. No I/O."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# 2.11's `date-time` format: RFC 3339 with a zone.
_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+\-]\d{2}:?\d{2})\Z")


def parse_date(text: str) -> datetime:
    """Return the date in a client's text.

    Raises:
        ValueError: The text is not an RFC 3339 date with a zone.
    """
    match = _RFC3339.match(text)
    if match is None:
        raise ValueError("not a date with a zone")
    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone in "Zz" else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    return datetime.fromisoformat(f"{day}T{clock}.{(fraction or '').ljust(6, '0')[:6]}{offset}")


def format_date(date: datetime) -> str:
    """Return a date in 2.11's format: in UTC, with microseconds only if they are not 0."""
    return date.astimezone(UTC).isoformat()


def old_date(value: str | None) -> str | None:
    """Return a date of the upstream in 2.11's format: Python before 3.11 cannot parse "Z"."""
    return value[:-1] + "+00:00" if value and value[-1] == "Z" else value
