"""What careless upstreams make of a path: any mix of what we know some to do. Standard library only."""

from __future__ import annotations

import re
from urllib.parse import unquote

_ROUNDS = 3


def readings(path: str) -> set[str]:
    """Return the path and what decoding, merging, cutting parameters, folding case and backslashes make of it."""
    found = {path}
    for _ in range(_ROUNDS):
        for reading in list(found):
            found |= {
                unquote(reading),
                re.sub("/{2,}", "/", reading),
                re.sub(";[^/]*", "", reading),
                reading.lower(),
                reading.replace("\\", "/"),
                reading.rstrip("/") + "/",
            }
    return found


def with_dots_resolved(path: str) -> set[str]:
    """Return the readings, each of them also without its dot segments (RFC 3986 section 5.2.4)."""
    found = readings(path)
    return found | {_without_dots(reading) for reading in found}


def _without_dots(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1] if len(kept) > 1 else kept
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept) or "/"
