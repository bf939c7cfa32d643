"""The page of symptoms quotes messages that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "symptoms.md").read_text(encoding="utf-8")
# Raised by the Kerberos library; a test with a KDC shows that it is logged.
_OF_LIBRARIES = {"Request is a replay"}
_CELL = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)


def quoted(heading: str) -> list[str]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return _CELL.findall(section.partition("|---|")[2])


@pytest.mark.parametrize("heading", ["Messages in an answer", "Messages in the log"])
def test_a_message_on_the_page_is_one_of_the_code(heading: str) -> None:
    sources = [
        path.read_text(encoding="utf-8") for path in (*ROOT.glob("compat_auth/**/*.py"), *ROOT.glob("backends/**/*.py"))
    ]
    code = "\n".join(sources)

    messages = quoted(heading)

    assert len(messages) >= 10
    assert [message for message in messages if message not in code and message not in _OF_LIBRARIES] == []
