"""The corpora, read from their files, and their texts with the placeholders filled in. Standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
NAMES = ("framing", "headers", "jwk", "jwt", "legacy", "paths", "redirects")
# What stands in a case for a value of the run, such as `{credential}`.
_PLACEHOLDER = re.compile(r"\{(credential|other|host|HOST|length)\}")

Case = dict[str, Any]
Piece = str | Mapping[str, Any]


def load(name: str) -> dict[str, Any]:
    """Return a corpus: `cases` and what else its file has at the top."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))
    return found


def cases(name: str) -> list[Case]:
    """Return the cases of a corpus, in the order of its file."""
    found: list[Case] = load(name)["cases"]
    return found


def published_keys() -> dict[str, dict[str, str]]:
    """Return the keys of the JWTs, by name: JWKs whose private members are published, so they protect nothing."""
    found: dict[str, dict[str, str]] = json.loads((FOLDER / "keys.json").read_text(encoding="ascii"))
    return found


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return the text with each placeholder that the values name filled in."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def values_for(host: str, credential: str, other: str) -> dict[str, str]:
    """Return the values of the placeholders.

    Args:
        host: Of the `Host` header, without a port.
        credential: Authorization value of the user whom the upstream should believe.
        other: Authorization value of another user.
    """
    return {"host": host, "HOST": host.upper(), "credential": credential, "other": other}


def to_bytes(pieces: Sequence[Piece], values: Mapping[str, str]) -> bytes:
    """Return the bytes of a `raw` or `body` (one character each, as ISO 8859-1).

    `{length}` becomes the number of bytes behind the first empty line.
    """
    text = "".join(fill(piece, values) if isinstance(piece, str) else _repeated(piece) for piece in pieces)
    _, _, body = text.partition("\r\n\r\n")
    return fill(text, {"length": str(len(body))}).encode("latin-1")


def to_headers(case: Case, values: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a case of headers.json, in order."""
    return [(name.encode("latin-1"), fill(value, values).encode("latin-1")) for name, value in case["headers"]]


def _repeated(piece: Mapping[str, Any]) -> str:
    text, times = str(piece["repeat"]), int(piece["times"])
    return "".join(text.replace("{n}", str(number)) for number in range(times))
