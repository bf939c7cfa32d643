"""Writes what a program has measured into its place in the documentation. Standard library only."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "corpora.md"


def write_between(text: str, mark: str, page: Path = PAGE) -> None:
    """Replace what stands between the comments `mark` and `end of mark` of a page.

    Raises:
        ValueError: The page does not have the comments.
    """
    head, begin, rest = page.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, end, tail = rest.partition(f"<!-- end of {mark} -->")
    if not begin or not end:
        raise ValueError(f"{page}: no comments for {mark}; put them where the table belongs")
    page.write_text(f"{head}{begin}\n{text}\n\n{end}{tail}", encoding="utf-8")
