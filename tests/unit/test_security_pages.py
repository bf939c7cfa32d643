"""The threat model and the ASVS table name tests and modules that exist, and answer every requirement."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASVS = ROOT / "docs" / "reference" / "asvs.md"
THREATS = ROOT / "docs" / "explanation" / "threat-model.md"
# OWASP ASVS 5.0.0, chapters V1 to V16: for each section the levels of its requirements, in their order.
LEVELS = {
    "V1.1": "22",
    "V1.2": "1111122223",
    "V1.3": "112222222223",
    "V1.4": "222",
    "V1.5": "123",
    "V2.1": "122",
    "V2.2": "112",
    "V2.3": "12223",
    "V2.4": "23",
    "V3.1": "3",
    "V3.2": "113",
    "V3.3": "12223",
    "V3.4": "11222233",
    "V3.5": "11122333",
    "V3.6": "3",
    "V3.7": "22333",
    "V4.1": "12233",
    "V4.2": "23333",
    "V4.3": "22",
    "V4.4": "1222",
    "V5.1": "2",
    "V5.2": "112333",
    "V5.3": "113",
    "V5.4": "222",
    "V6.1": "122",
    "V6.2": "111111112222",
    "V6.3": "11223333",
    "V6.4": "112233",
    "V6.5": "22222333",
    "V6.6": "2223",
    "V6.7": "33",
    "V6.8": "2222",
    "V7.1": "222",
    "V7.2": "1111",
    "V7.3": "22",
    "V7.4": "11222",
    "V7.5": "223",
    "V7.6": "22",
    "V8.1": "1233",
    "V8.2": "1123",
    "V8.3": "133",
    "V8.4": "23",
    "V9.1": "111",
    "V9.2": "1222",
    "V10.1": "22",
    "V10.2": "223",
    "V10.3": "22223",
    "V10.4": "1111122222233333",
    "V10.5": "22222",
    "V10.6": "22",
    "V10.7": "222",
    "V11.1": "2233",
    "V11.2": "22233",
    "V11.3": "11233",
    "V11.4": "1222",
    "V11.5": "23",
    "V11.6": "23",
    "V11.7": "33",
    "V12.1": "12233",
    "V12.2": "11",
    "V12.3": "22223",
    "V13.1": "2333",
    "V13.2": "222223",
    "V13.3": "2233",
    "V13.4": "1222233",
    "V14.1": "22",
    "V14.2": "12223333",
    "V14.3": "122",
    "V15.1": "12233",
    "V15.2": "12233",
    "V15.3": "1222222",
    "V15.4": "3333",
    "V16.1": "2",
    "V16.2": "22222",
    "V16.3": "2222",
    "V16.4": "222",
    "V16.5": "2223",
}  # fmt: skip
WANTED = {
    f"{section}.{number}": level
    for section, levels in LEVELS.items()
    for number, level in enumerate(levels, start=1)
    if level in "12"
}
ANSWERS = ("**Held** ", "**Documented** ", "**Operator** ", "**Not here** ", "**Gap** ")
BOUNDARIES = 11
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_FILE = re.compile(r"`((?:compat_auth|backends|tests|\.ci|\.github|deploy)/[\w./-]+)`")
_ROW = re.compile(r"^\| (V\d.*?) \| (.+?) \| (.+) \|$", re.MULTILINE)
_NAMED = re.compile(r"(V\d+\.\d+\.\d+) \((\d)\)")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    return (
        frozenset(re.findall(r"^\s*(?:async )?def (test_\w+)", text_of(path), re.MULTILINE))
        if path.exists()
        else frozenset()
    )


def rows() -> list[tuple[list[tuple[str, str]], str]]:
    """Return the requirements of each row, with their levels, and its answer."""
    return [(_NAMED.findall(named), answer) for named, _, answer in _ROW.findall(text_of(ASVS))]


@pytest.mark.parametrize("page", [ASVS, THREATS], ids=["asvs", "threats"])
def test_every_test_and_file_that_the_page_names_exists(page: Path) -> None:
    text = text_of(page)

    missing = [f"{path}::{name}" for path, name in _TEST.findall(text) if name not in names_in(ROOT / path)]
    missing += [path for path in _FILE.findall(text) if not (ROOT / path).exists()]

    assert len(_TEST.findall(text)) > 50
    assert missing == []


def test_every_requirement_of_level_1_and_2_is_answered_once_with_its_level() -> None:
    answered = [requirement for named, _ in rows() for requirement in named]

    assert len(WANTED) > 200
    assert sorted(answered) == sorted(WANTED.items())


def test_every_answer_is_of_a_known_kind_and_says_something() -> None:
    wrong = [answer for _, answer in rows() if not answer.startswith(ANSWERS) or len(answer) < 20]
    unproved = [answer for _, answer in rows() if answer.startswith("**Held**") and not _FILE.search(answer)]

    assert wrong == []
    assert unproved == []


def test_every_gap_is_in_the_list_of_gaps() -> None:
    listed = set(re.findall(r"V\d+\.\d+\.\d+", text_of(ASVS).partition("## The gaps")[2]))

    gaps = {name for named, answer in rows() if answer.startswith("**Gap**") for name, _ in named}

    assert gaps == listed


def test_each_boundary_asks_all_six_questions_of_stride() -> None:
    boundaries = re.split(r"^## \d+\. ", text_of(THREATS), flags=re.MULTILINE)[1:]

    kinds = [re.findall(r"^\| ([STRIDE]) \|", boundary, re.MULTILINE) for boundary in boundaries]

    assert len(boundaries) == BOUNDARIES
    assert [sorted(set(found)) for found in kinds] == [sorted("STRIDE")] * BOUNDARIES
