"""How a personal token is spelled."""

from __future__ import annotations

import re
import zlib

import pytest

from compat_auth.crypto.personal_token_format import PATTERN, checksum, looks_like_one, make_text, parse_text


def test_a_token_is_parsed_as_it_was_made() -> None:
    made = make_text()

    assert parse_text(made.value) == made
    assert looks_like_one(made.value)
    assert len(made.value) == 58


def test_a_published_pattern_finds_a_token_in_a_text() -> None:
    made = make_text()

    assert re.findall(PATTERN, f'token = "{made.value}"') == [made.value]


def test_a_new_secret_keeps_the_id() -> None:
    made = make_text()

    again = make_text(made.id)

    assert again.id == made.id
    assert again.value != made.value


def test_the_checksum_is_the_crc32_in_base62() -> None:
    letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

    found = checksum("cat_pat_x")

    number = 0
    for letter in found:
        number = number * 62 + letters.index(letter)
    assert number == zlib.crc32(b"cat_pat_x")
    assert len(found) == 6


def test_a_small_checksum_is_padded_with_zeros() -> None:
    assert checksum("") == "000000"


def test_every_altered_character_is_noticed() -> None:
    value = make_text().value

    for place, letter in enumerate(value):
        altered = value[:place] + ("a" if letter != "a" else "b") + value[place + 1 :]
        assert parse_text(altered) is None, place


@pytest.mark.parametrize("text", ["", "cat_pat_", "cat_pat_" + "é" * 50, "CAT_PAT_" + "a" * 50, "x" * 10_000])
def test_what_is_none_is_none(text: str) -> None:
    assert parse_text(text) is None


def test_a_token_with_something_around_it_is_none() -> None:
    value = make_text().value

    assert [parse_text(text) for text in (f"{value}\n", f" {value}", value + "a", value[:-1])] == [None] * 4


def test_the_secret_is_in_no_repr() -> None:
    made = make_text()

    assert made.value[20:] not in repr(made)
