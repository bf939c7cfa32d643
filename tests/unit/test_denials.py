"""What is no longer good: known at once here, within a second elsewhere, and in every spelling of a token."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from compat_auth.denials import Denials, signed_digest
from compat_auth.errors import BackendUnavailable
from compat_auth.revocation import Revocations
from compat_auth.store.denial_rows import Denial, DenialRows
from compat_auth.store.migration import open_store
from stand_ins import Clock

NOW = 1_800_000_000
SECRET = "s" * 64


def token(**claims: Any) -> str:
    return jwt.encode({"sub": "7", "jti": "a" * 32, "iat": NOW, "exp": NOW + 600, **claims}, SECRET, algorithm="HS512")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def denials(url: str, clock: Clock) -> Iterator[Denials]:
    database = open_store(url)
    yield Denials(DenialRows(database), Revocations(), now=lambda: NOW, monotonic=clock)
    database.close()


async def test_nothing_is_refused_and_no_database_made_while_nothing_was_denied(
    denials: Denials, tmp_path: Path
) -> None:
    await denials.up_to_date()

    assert not denials.refuses(token())
    assert not (tmp_path / "store.db").exists()


async def test_a_denied_token_is_refused_at_once(denials: Denials) -> None:
    await denials.up_to_date()
    denials.deny(Denial("jti", "a" * 32, NOW + 600))

    await denials.up_to_date()

    assert denials.refuses(token())
    assert not denials.refuses(token(jti="b" * 32))


@pytest.mark.parametrize(
    "spell",
    [
        pytest.param(lambda text: text + "=", id="padded"),
        pytest.param(lambda text: text + "==", id="padded-twice"),
        pytest.param(lambda text: text[:-1] + "_", id="loose-bits"),
        pytest.param(lambda text: text.partition(".")[2].join(("eyJhbGciOiJub25lIn0.", "")), id="another-header"),
        pytest.param(lambda text: text.rpartition(".")[0] + ".", id="no-signature"),
        pytest.param(lambda text: text + ".x", id="a-fourth-part"),
    ],
)
async def test_a_denied_token_is_refused_however_its_header_or_signature_is_spelled(
    denials: Denials, spell: Any
) -> None:
    denials.deny(Denial("jti", "a" * 32, NOW + 600))
    await denials.up_to_date()

    assert denials.refuses(spell(token()))


async def test_doubled_members_are_read_as_verifiers_behind_us_read_them(denials: Denials) -> None:
    payload = json.dumps({"jti": "x"})[:-1] + f', "jti": "{"a" * 32}"}}'
    text = "e30." + base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=") + ".sig"
    denials.deny(Denial("jti", "a" * 32, NOW + 600))
    await denials.up_to_date()

    assert denials.refuses(text)


@pytest.mark.parametrize(
    ("claims", "refused"),
    [
        pytest.param({"iat": NOW - 1}, True, id="before"),
        pytest.param({"iat": NOW}, True, id="in-the-same-second"),
        pytest.param({"iat": NOW + 1}, False, id="after"),
        pytest.param({"iat": str(NOW + 1)}, True, id="no-number"),
        pytest.param({"iat": None}, True, id="unknown"),
        pytest.param({"iat": NOW - 1, "sub": "8"}, False, id="somebody-else"),
        pytest.param({"iat": NOW - 1, "sub": 7}, True, id="sub-as-a-number"),
    ],
)
async def test_all_of_a_user_up_to_a_moment_is_refused(denials: Denials, claims: dict[str, Any], refused: bool) -> None:
    denials.deny(Denial("sub", "7", NOW + 600, NOW))
    await denials.up_to_date()
    header, payload, signature = token().split(".")
    content = {**json.loads(base64.urlsafe_b64decode(payload + "==")), **claims}
    changed = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    assert denials.refuses(f"{header}.{changed}.{signature}") is refused


async def test_a_token_without_a_name_is_refused_by_its_text(denials: Denials) -> None:
    denials.deny(*(Denial("digest", signed_digest(text), NOW + 600) for text in ("opaque", "e30.e30.first")))
    await denials.up_to_date()

    assert denials.refuses("opaque")
    assert denials.refuses("e30.e30.second-form-of-the-signature")
    assert not denials.refuses("another")


async def test_another_process_is_heard_of_within_a_second(denials: Denials, url: str, clock: Clock) -> None:
    await denials.up_to_date()
    other = open_store(url)
    DenialRows(other).deny([Denial("jti", "a" * 32, NOW + 600)])
    other.close()
    clock.time += 0.99
    before = denials.is_stale

    clock.time += 0.01
    await denials.up_to_date()

    assert not before
    assert denials.refuses(token())


async def test_a_store_that_cannot_be_asked_is_no_yes(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database at all" * 100)
    denials = Denials(DenialRows(open_store(f"sqlite:///{tmp_path / 'store.db'}")), Revocations())

    with pytest.raises(BackendUnavailable):
        await denials.up_to_date()

    assert denials.is_stale


async def test_what_is_over_is_no_longer_kept(url: str, clock: Clock) -> None:
    moment = [NOW]
    denials = Denials(DenialRows(open_store(url)), Revocations(), now=lambda: moment[0], monotonic=clock)
    denials.deny(Denial("jti", "a" * 32, NOW + 600))
    await denials.up_to_date()
    moment[0], clock.time = NOW + 601, clock.time + 2

    await denials.up_to_date()

    assert not denials.refuses(token())
