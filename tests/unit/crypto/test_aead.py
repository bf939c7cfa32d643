"""What replicas tell each other, sealed."""

from __future__ import annotations

from pathlib import Path

import pytest

import compat_auth
from compat_auth.config import parse_settings
from compat_auth.config.settings import sharing_secrets
from compat_auth.crypto.aead import SealedBoxes
from compat_auth.errors import ConfigError

OLD, NEW, OTHER = "o" * 32, "n" * 32, "x" * 32
CONTENT = "pässword of zoë".encode()


def boxes(*secrets: str, purpose: str = "verdicts") -> SealedBoxes:
    return SealedBoxes(secrets or (NEW,), purpose)


def test_what_was_sealed_opens_for_whoever_knows_the_secret() -> None:
    box = boxes().seal(CONTENT, belongs_to=b"key")

    assert boxes().open(box, belongs_to=b"key") == CONTENT


def test_a_box_shows_nothing_of_its_content() -> None:
    one, two = boxes().seal(CONTENT), boxes().seal(CONTENT)

    assert CONTENT[:4] not in one
    assert one[16:] != two[16:]


@pytest.mark.parametrize("position", range(-1, 40))
def test_a_box_changed_in_any_byte_does_not_open(position: int) -> None:
    box = bytearray(boxes().seal(CONTENT))
    box[position] ^= 1

    assert boxes().open(bytes(box)) is None


@pytest.mark.parametrize("box", [b"", b"x", b"x" * 4, b"x" * 16, b"x" * 100, b'{"claims": {}}'])
def test_what_is_no_box_does_not_open(box: bytes) -> None:
    assert boxes().open(box) is None
    assert boxes().open(boxes().seal(b"")[:4] + box) is None


def test_a_box_cut_short_does_not_open() -> None:
    box = boxes().seal(CONTENT)

    assert [boxes().open(box[:length]) for length in range(len(box))] == [None] * len(box)


def test_a_box_opens_only_for_what_it_belongs_to_and_is_for() -> None:
    box = boxes().seal(CONTENT, belongs_to=b"alice")

    assert boxes().open(box, belongs_to=b"bob") is None
    assert boxes().open(box) is None
    assert boxes(purpose="revocations").open(box, belongs_to=b"alice") is None


def test_the_purpose_and_what_a_box_belongs_to_cannot_be_parted_otherwise() -> None:
    box = boxes(purpose="ab").seal(CONTENT, belongs_to=b"c")

    assert boxes(purpose="a").open(box, belongs_to=b"bc") is None


def test_the_newest_secret_seals_and_older_ones_still_open() -> None:
    box = boxes(OLD).seal(CONTENT)

    assert boxes(NEW, OLD).open(box) == CONTENT
    assert boxes(OLD).open(boxes(NEW, OLD).seal(CONTENT)) is None
    assert boxes(OTHER).open(box) is None


def test_keys_for_digests_differ_by_purpose_and_secret() -> None:
    keys = {boxes(secret, purpose=purpose).digest_key for secret in (OLD, NEW) for purpose in ("a", "b")}

    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)


@pytest.mark.parametrize(
    ("content", "secrets"),
    [
        ({"redis_secret": NEW}, (NEW,)),
        ({"session": {"secret": OLD}}, (OLD,)),
        ({"session": {"secrets": [NEW, OLD]}}, (NEW, OLD)),
        ({"redis_secret": NEW, "session": {"secret": OLD}}, (NEW,)),
    ],
)
def test_replicas_share_a_secret_of_its_own_or_that_of_sessions(
    content: dict[str, object], secrets: tuple[str, ...]
) -> None:
    assert sharing_secrets(parse_settings(content, origin="test")) == secrets


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "set redis_secret"),
        ({"redis_secret": "short"}, "redis_secret: 5 bytes"),
        ({"session": {"secrets": [NEW, "short"]}}, r"session\.secret: 5 bytes"),
    ],
)
def test_without_a_secret_worth_the_name_nothing_is_shared(content: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sharing_secrets(parse_settings(content, origin="test"))


def test_what_an_earlier_version_sealed_opens() -> None:
    sealed_earlier = bytes.fromhex(
        "ec3a681c705a0e69b5511c4524ecf1c7d18edef401d261c62de7c913dce4a439701a579567f75590600dcfa12bfe6479ef"
    )

    opened = boxes(NEW, OLD).open(sealed_earlier, belongs_to=b"key")

    assert opened == CONTENT


def test_digests_are_those_of_an_earlier_version() -> None:
    made = boxes(NEW, OLD).digest_key

    assert made.hex() == "ed66c11fd7029f6e06659f699ddc18ecb63cfa1b903a24aa93fe6790ab3f97a8"


def test_nothing_else_in_the_project_seals() -> None:
    package = Path(compat_auth.__file__).parent

    sealing = {str(path.relative_to(package)) for path in package.rglob("*.py") if "AESGCM" in path.read_text("utf-8")}

    assert sealing == {"crypto/aead.py"}
