"""What is no longer good: known at once here, within a second elsewhere, and in every spelling of a token."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt
import pytest

from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.errors import BackendUnavailable
from compat_auth.store.migration import open_store
from compat_auth.store.tables.denylist import DenylistEntry, DenylistRows, all_up_to
from compat_auth.tokens.denylist import Denylist, signed_digest
from support.stand_ins import Clock

NOW = 1_800_000_000
SECRET = "s" * 64
DAY_S = 86400


def token(**claims: Any) -> str:
    return jwt.encode({"sub": "7", "jti": "a" * 32, "iat": NOW, "exp": NOW + 600, **claims}, SECRET, algorithm="HS512")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def denylist(url: str, clock: Clock) -> Iterator[Denylist]:
    database = open_store(url)
    yield Denylist(DenylistRows(database), RevocationEvents(), now=lambda: NOW, monotonic=clock)
    database.close()


async def test_nothing_is_refused_and_no_database_made_while_nothing_was_denied(
    denylist: Denylist, tmp_path: Path
) -> None:
    await denylist.up_to_date()

    assert not denylist.is_revoked(token())
    assert not (tmp_path / "store.db").exists()


async def test_a_denied_token_is_refused_at_once(denylist: Denylist) -> None:
    await denylist.up_to_date()
    denylist.revoke(DenylistEntry("jti", "a" * 32, NOW + 600))

    await denylist.up_to_date()

    assert denylist.is_revoked(token())
    assert not denylist.is_revoked(token(jti="b" * 32))


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
    denylist: Denylist, spell: Any
) -> None:
    denylist.revoke(DenylistEntry("jti", "a" * 32, NOW + 600))
    await denylist.up_to_date()

    assert denylist.is_revoked(spell(token()))


async def test_doubled_members_are_read_as_verifiers_behind_us_read_them(denylist: Denylist) -> None:
    payload = json.dumps({"jti": "x"})[:-1] + f', "jti": "{"a" * 32}"}}'
    text = "e30." + base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=") + ".sig"
    denylist.revoke(DenylistEntry("jti", "a" * 32, NOW + 600))
    await denylist.up_to_date()

    assert denylist.is_revoked(text)


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
async def test_all_of_a_user_up_to_a_moment_is_refused(
    denylist: Denylist, claims: dict[str, Any], refused: bool
) -> None:
    denylist.revoke(DenylistEntry("sub", "7", NOW + 600, NOW))
    await denylist.up_to_date()
    header, payload, signature = token().split(".")
    content = {**json.loads(base64.urlsafe_b64decode(payload + "==")), **claims}
    changed = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    assert denylist.is_revoked(f"{header}.{changed}.{signature}") is refused


async def test_a_token_that_was_looked_at_a_moment_ago_is_refused_once_it_is_denied(
    denylist: Denylist, url: str, clock: Clock
) -> None:
    shown, other = token(jti="1", sub="alice"), token(jti="2", sub="alice")
    denylist.revoke(DenylistEntry("jti", "another", 2**40))
    looked_at = [denylist.is_revoked(shown), denylist.is_revoked(shown), denylist.is_revoked(other)]
    elsewhere = Denylist(DenylistRows(open_store(url)), RevocationEvents())
    elsewhere.revoke(DenylistEntry("jti", "1", 2**40))
    elsewhere.close()
    clock.time += 1

    await denylist.up_to_date()

    assert looked_at == [False] * 3
    assert (denylist.is_revoked(shown), denylist.is_revoked(other)) == (True, False)


async def test_the_claims_of_a_token_are_read_once_for_many_requests(
    denylist: Denylist, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = token(jti="1", sub="alice")
    denylist.revoke(DenylistEntry("jti", "another", 2**40))
    read: list[str] = []
    monkeypatch.setattr("compat_auth.tokens.denylist.read_claimed", read.append)

    for _ in range(10):
        denylist.is_revoked(shown)

    assert read == [shown]


async def test_invented_tokens_do_not_fill_the_memory(denylist: Denylist) -> None:
    denylist.revoke(DenylistEntry("jti", "another", 2**40))

    for number in range(20_001):
        denylist.is_revoked(f"a.{number}.c")

    assert len(denylist._not_revoked) <= 10_000
    assert "a.20000.c" not in repr(denylist._not_revoked)


async def test_a_token_without_a_name_is_refused_by_its_text(denylist: Denylist) -> None:
    denylist.revoke(*(DenylistEntry("digest", signed_digest(text), NOW + 600) for text in ("opaque", "e30.e30.first")))
    await denylist.up_to_date()

    assert denylist.is_revoked("opaque")
    assert denylist.is_revoked("e30.e30.second-form-of-the-signature")
    assert not denylist.is_revoked("another")


async def test_another_process_is_heard_of_within_a_second(denylist: Denylist, url: str, clock: Clock) -> None:
    await denylist.up_to_date()
    other = open_store(url)
    DenylistRows(other).revoke([DenylistEntry("jti", "a" * 32, NOW + 600)])
    other.close()
    clock.time += 0.99
    before = denylist.is_stale

    clock.time += 0.01
    await denylist.up_to_date()

    assert not before
    assert denylist.is_revoked(token())


async def test_it_says_for_how_long_it_is_reliable_without_another_read(denylist: Denylist, clock: Clock) -> None:
    before = denylist.reliable_s
    await denylist.up_to_date()
    after = denylist.reliable_s
    clock.time += 0.75
    later = denylist.reliable_s
    denylist.announce()

    assert (before, after, later, denylist.reliable_s) == (0, 1, 0.25, 0)


async def test_a_store_that_cannot_be_asked_is_no_yes(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database at all" * 100)
    denylist = Denylist(DenylistRows(open_store(f"sqlite:///{tmp_path / 'store.db'}")), RevocationEvents())

    with pytest.raises(BackendUnavailable):
        await denylist.up_to_date()

    assert denylist.is_stale


async def pass_s(denylist: Denylist, moment: list[int], clock: Clock, seconds: int) -> None:
    """Let both clocks run, with a look at the store every half hour."""
    for _ in range(0, seconds, 1800):
        moment[0], clock.time = moment[0] + 1800, clock.time + 1800
        await denylist.up_to_date()
    moment[0], clock.time = moment[0] + 1801, clock.time + 1801
    await denylist.up_to_date()


async def test_what_is_over_is_no_longer_kept(url: str, clock: Clock) -> None:
    moment = [NOW]
    denylist = Denylist(DenylistRows(open_store(url)), RevocationEvents(), now=lambda: moment[0], monotonic=clock)
    denylist.revoke(DenylistEntry("jti", "a" * 32, NOW + 600))
    await denylist.up_to_date()
    await pass_s(denylist, moment, clock, 600 + DAY_S)
    DenylistRows(open_store(url)).forget_older(moment[0])

    await pass_s(denylist, moment, clock, DAY_S)

    assert not denylist.is_revoked(token())


@pytest.mark.parametrize("jump_s", [2 * DAY_S, 400 * DAY_S, -2 * DAY_S])
async def test_a_clock_that_jumps_and_comes_back_makes_nothing_good_again(url: str, clock: Clock, jump_s: int) -> None:
    moment = [NOW]
    denylist = Denylist(DenylistRows(open_store(url)), RevocationEvents(), now=lambda: moment[0], monotonic=clock)
    denylist.revoke(DenylistEntry("jti", "a" * 32, NOW + 600))
    await denylist.up_to_date()
    moment[0] += jump_s
    for _ in range(3):
        clock.time += 2
        await denylist.up_to_date()
    denylist.revoke(DenylistEntry("jti", "b" * 32, NOW + 600))
    clock.time += 4000
    await denylist.up_to_date()
    during = denylist.is_revoked(token()), denylist.is_revoked(token(jti="b" * 32))

    moment[0], clock.time = NOW + 4010, clock.time + 4
    await denylist.up_to_date()
    begun_meanwhile = Denylist(
        DenylistRows(open_store(url)), RevocationEvents(), now=lambda: moment[0], monotonic=clock
    )
    await begun_meanwhile.up_to_date()

    assert during == (True, True)
    for found in (denylist, begun_meanwhile):
        assert (found.is_revoked(token()), found.is_revoked(token(jti="b" * 32))) == (True, True)


async def test_a_process_that_starts_with_a_wrong_clock_knows_what_was_denied(url: str, clock: Clock) -> None:
    rows = DenylistRows(open_store(url))
    rows.revoke([DenylistEntry("jti", "a" * 32, NOW + 600)])
    denylist = Denylist(rows, RevocationEvents(), now=lambda: NOW + 30 * DAY_S, monotonic=clock)

    await denylist.up_to_date()

    assert denylist.is_revoked(token())


def copy_of(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as reads, closing(sqlite3.connect(target)) as writes:
        reads.backup(writes)


async def test_what_is_denied_after_a_backup_was_restored_is_refused(
    denylist: Denylist, tmp_path: Path, url: str, clock: Clock
) -> None:
    denylist.revoke(DenylistEntry("jti", "0" * 32, NOW + 600))
    copy_of(tmp_path / "store.db", tmp_path / "copy.db")
    for number in range(1, 6):
        denylist.revoke(DenylistEntry("jti", f"{number}" * 32, NOW + 600))
    await denylist.up_to_date()
    copy_of(tmp_path / "copy.db", tmp_path / "store.db")
    clock.time += 1
    await denylist.up_to_date()

    DenylistRows(open_store(url)).revoke([DenylistEntry("jti", "f" * 32, NOW + 600)])
    clock.time += 1
    await denylist.up_to_date()

    assert denylist.is_revoked(token(jti="f" * 32))


@pytest.mark.parametrize("later", [0, 1, 20])
async def test_what_was_known_before_a_backup_was_restored_stays_refused_everywhere(
    denylist: Denylist, tmp_path: Path, url: str, clock: Clock, later: int
) -> None:
    denylist.revoke(DenylistEntry("jti", "0" * 32, NOW + 600))
    copy_of(tmp_path / "store.db", tmp_path / "copy.db")
    denylist.revoke(DenylistEntry("jti", "a" * 32, NOW + 600), DenylistEntry("sub", "9", NOW + 600, NOW))
    await denylist.up_to_date()
    copy_of(tmp_path / "copy.db", tmp_path / "store.db")
    other = DenylistRows(open_store(url))
    for number in range(later):
        other.revoke([DenylistEntry("jti", f"later-{number}", NOW + 600)])

    clock.time += 1
    await denylist.up_to_date()
    begun_later = Denylist(DenylistRows(open_store(url)), RevocationEvents(), now=lambda: NOW, monotonic=clock)
    await begun_later.up_to_date()

    for found in (denylist, begun_later):
        assert found.is_revoked(token())
        assert found.is_revoked(token(jti="c" * 32, sub="9"))
        assert all(found.is_revoked(token(jti=f"later-{number}")) for number in range(later))


async def test_an_empty_store_in_the_place_of_the_known_one_gets_what_is_known(
    denylist: Denylist, tmp_path: Path, url: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(f"sqlite:///{tmp_path / 'empty.db'}").write():
        pass
    denylist.revoke(DenylistEntry("jti", "a" * 32, NOW + 600))
    await denylist.up_to_date()

    copy_of(tmp_path / "empty.db", tmp_path / "store.db")
    clock.time += 1
    await denylist.up_to_date()

    assert denylist.is_revoked(token())
    assert [denial.key for denial in DenylistRows(open_store(url)).read(-1).found] == ["a" * 32]
    assert "older state" in caplog.text
    assert "1 revocations that the store lacked are written back" in caplog.text


async def test_what_cannot_be_written_back_stays_refused_here_and_is_tried_again(
    denylist: Denylist, tmp_path: Path, url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(f"sqlite:///{tmp_path / 'empty.db'}").write():
        pass
    denylist.revoke(DenylistEntry("jti", "a" * 32, NOW + 600))
    await denylist.up_to_date()
    copy_of(tmp_path / "empty.db", tmp_path / "store.db")

    def fail(_rows: object, _what: object) -> None:
        raise BackendUnavailable("a standby takes no writes")

    with monkeypatch.context() as standby:
        standby.setattr(DenylistRows, "revoke", fail)
        clock.time += 1
        await denylist.up_to_date()
        meanwhile = denylist.is_revoked(token())
    clock.time += 1
    await denylist.up_to_date()

    assert meanwhile
    assert [denial.key for denial in DenylistRows(open_store(url)).read(-1).found] == ["a" * 32]


async def test_all_tokens_up_to_a_moment_can_be_denied(denylist: Denylist) -> None:
    denylist.revoke(all_up_to(NOW, NOW + 600))

    await denylist.up_to_date()

    assert denylist.is_revoked(token())
    assert denylist.is_revoked(token(iat=None))
    assert not denylist.is_revoked(token(iat=NOW + 1))
    assert not denylist.is_revoked("opaque")


def remove(folder: Path) -> None:
    for file in folder.glob("store.db*"):
        file.unlink()


async def test_a_process_knows_the_store_from_its_start(url: str, tmp_path: Path) -> None:
    other = DenylistRows(open_store(url))
    other.revoke([DenylistEntry("jti", "a" * 32, NOW + 600)])
    other.close()
    denylist = Denylist(DenylistRows(open_store(url)), RevocationEvents(), now=lambda: NOW)

    denylist.open()
    await denylist.up_to_date()
    remove(tmp_path)

    assert denylist.is_revoked(token())
    with pytest.raises(BackendUnavailable, match="no longer exists"):
        denylist.revoke(DenylistEntry("jti", "b" * 32, NOW + 600))
    denylist.close()


async def test_a_store_that_is_away_at_the_start_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    denylist = Denylist(DenylistRows(open_store(f"sqlite:///{tmp_path / 'volume' / 'store.db'}")), RevocationEvents())

    denylist.open()
    with pytest.raises(BackendUnavailable):
        await denylist.up_to_date()
    await asyncio.sleep(0)

    assert "the denylist is not read yet" in caplog.text
