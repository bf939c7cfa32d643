"""Sequence diagrams from a few lines of text to SVG, without a script from the network. No Sphinx.

The lines: `participants: A | B`, `A -> B: a request`, `B --> A: an answer`, `note A: what A does`.
"""

import re
from html import escape
from itertools import pairwise

_MESSAGE = re.compile(r"(?P<start>[^:]+?) (?P<arrow>-->|->) (?P<end>[^:]+?): (?P<text>.+)")
_NOTE = re.compile(r"note (?P<who>[^:]+): (?P<text>.+)")
_CHARACTER = 6.7  # width of one, in pixels, at 12 px
_ROW = 40
_HEAD = 34

_OPENING = (
    '<svg class="sequence" role="img" viewBox="0 0 {0:.0f} {1}" width="{0:.0f}" xmlns="http://www.w3.org/2000/svg"'
    ' font-family="sans-serif" font-size="12" stroke="currentColor" fill="currentColor">'
)


def to_svg(source: str, title: str) -> str:
    """Return the diagram as one `<svg>` element that takes its colours from the page.

    Raises:
        ValueError: A line is none of the four kinds, or names somebody who does not take part.
    """
    first, *lines = [line.strip() for line in source.splitlines() if line.strip()]
    label, _, names = first.partition(":")
    if label != "participants":
        raise ValueError(f"sequence: the first line must be 'participants: A | B', not {first!r}")
    participants = [name.strip() for name in names.split("|")]
    steps = [_read(line, participants) for line in lines]
    places = _place(participants, steps)
    height = _HEAD + 26 + _ROW * len(steps)
    width = places[-1] + _half(participants[-1]) + _margin(steps, participants)
    drawn = [_OPENING.format(width, height), f"<title>{escape(title)}</title><desc>{escape(source)}</desc>"]
    for name, x in zip(participants, places, strict=True):
        drawn.append(f'<path d="M{x:.0f} {_HEAD}V{height - 6}" stroke-opacity=".35" fill="none"/>')
        drawn.append(_box(x, 4, _half(name), 26, name, bold=True))
    for row, (start, end, text, dashed) in enumerate(steps):
        y = _HEAD + 30 + _ROW * row
        if start == end:
            drawn.append(_box(places[start], y - 14, _half(text), 24, text, bold=False))
        else:
            drawn.append(_arrow(places[start], places[end], y, text, dashed=dashed))
    return "".join([*drawn, "</svg>"])


def _read(line: str, participants: list[str]) -> tuple[int, int, str, bool]:
    found = _NOTE.fullmatch(line) or _MESSAGE.fullmatch(line)
    if found is None:
        raise ValueError(f"sequence: neither a message nor a note: {line!r}")
    parts = found.groupdict()
    start, end = parts.get("who") or parts["start"], parts.get("who") or parts["end"]
    for name in (start, end):
        if name not in participants:
            raise ValueError(f"sequence: {name!r} does not take part; {line!r}")
    return participants.index(start), participants.index(end), parts["text"], parts.get("arrow") == "-->"


def _place(participants: list[str], steps: list[tuple[int, int, str, bool]]) -> list[float]:
    """Return the middle of each column, far enough apart for every text."""
    gaps = [_half(one) + _half(other) + 16 for one, other in pairwise(participants)]
    left = _half(participants[0]) + 4
    for start, end, text, _ in steps:
        low, high = min(start, end), max(start, end)
        if low == high:
            left = max(left, _half(text) + 4) if low == 0 else left
            for gap in {low - 1, low} & set(range(len(gaps))):
                gaps[gap] = max(gaps[gap], _half(text) + 12)
        else:
            missing = 2 * _half(text) + 12 - sum(gaps[low:high])
            for gap in range(low, high):
                gaps[gap] += max(0.0, missing / (high - low))
    return [left + sum(gaps[:column]) for column in range(len(participants))]


def _margin(steps: list[tuple[int, int, str, bool]], participants: list[str]) -> float:
    last = len(participants) - 1
    beyond = [_half(text) for start, end, text, _ in steps if start == end == last]
    return max([4.0, *(half - _half(participants[-1]) + 4 for half in beyond)])


def _half(text: str) -> float:
    return len(text) * _CHARACTER / 2 + 8


def _box(x: float, y: float, half: float, height: int, text: str, *, bold: bool) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<rect x="{x - half:.0f}" y="{y}" width="{2 * half:.0f}" height="{height}" rx="4" class="sequence-box"/>'
        f'<text x="{x:.0f}" y="{y + height / 2 + 4:.0f}" text-anchor="middle" stroke="none"{weight}>{escape(text)}</text>'
    )


def _arrow(start: float, end: float, y: float, text: str, *, dashed: bool) -> str:
    direction = 1 if end > start else -1
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    tip = f"M{end - 8 * direction:.0f} {y - 4}L{end:.0f} {y}L{end - 8 * direction:.0f} {y + 4}Z"
    return (
        f'<path d="M{start:.0f} {y}H{end - 6 * direction:.0f}" fill="none"{dashes}/><path d="{tip}"/>'
        f'<text x="{(start + end) / 2:.0f}" y="{y - 6}" text-anchor="middle" stroke="none">{escape(text)}</text>'
    )
