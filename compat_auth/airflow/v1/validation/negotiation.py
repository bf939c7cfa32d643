"""What a client accepts, chosen as 2.11 chooses. No I/O."""

from __future__ import annotations

from collections.abc import Sequence


def accepted(header: str, offered: Sequence[str]) -> str | None:
    """Return the media type that suits a client best; None when none does (RFC 9110 section 12.5.1).

    Args:
        header: Value of `Accept`; empty for none, which takes anything.
        offered: In order of preference.
    """
    if not header.strip():
        return offered[0]
    ranges = [_parse(part) for part in header.split(",") if part.strip()]
    best: tuple[float, int, int] | None = None
    chosen: str | None = None
    for number, kind in enumerate(offered):
        quality, precision = max(
            ((quality, precision) for name, quality in ranges if (precision := _precision(name, kind)) > 0),
            key=lambda match: match[1],
            default=(0.0, 0),
        )
        if quality > 0 and (best is None or (quality, precision, -number) > best):
            best, chosen = (quality, precision, -number), kind
    return chosen


def _parse(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name, float(parameter[2:])
            except ValueError:
                return name, 0.0
    return name, 1.0


def _precision(name: str, kind: str) -> int:
    """Return how exactly a range names a type: 0 for not at all."""
    if name == kind:
        return 3
    if name == kind.partition("/")[0] + "/*":
        return 2
    return 1 if name == "*/*" else 0
