from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm

from compat_auth.errors import ConfigError, KeyFileError, NoActiveKey
from compat_auth.tokens.jose.jwk import (
    KeyAlgorithm,
    create_private_key,
    load_public_jwk,
    private_jwk,
    public_members,
    thumbprint,
    verifying_key,
)
from compat_auth.tokens.jose.jwt import sign, verify
from compat_auth.tokens.keys.key_file import lock_key_file, read_key_file
from compat_auth.tokens.keys.keys import KeyRing, create_keys, key_state, merge_jwks, retire_key, rotate_keys

NOW = 1_800_000_000
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> int:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def states(path: Path, moment: int) -> list[str]:
    keys = read_key_file(path).keys
    return [key_state(key, keys, moment) for key in keys]


def edit(path: Path, **members: Any) -> None:
    content = json.loads(path.read_text())
    content["keys"][0] |= members
    path.write_text(json.dumps(content))


# What others may see


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o610])
def test_a_key_file_open_to_others_is_refused_with_the_command_that_mends_it(path: Path, mode: int) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    path.chmod(mode)

    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        KeyRing(path)


def test_a_link_to_a_file_open_to_others_is_refused(path: Path, tmp_path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    path.chmod(0o644)
    link = tmp_path / "link.json"
    link.symlink_to(path)

    with pytest.raises(KeyFileError, match="chmod 600"):
        KeyRing(link)


def test_a_key_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    with pytest.raises(KeyFileError, match=f"belongs to user {owner}"):
        KeyRing(path)


def test_a_fifo_in_place_of_a_key_file_is_refused_at_once(path: Path) -> None:
    os.mkfifo(path, 0o600)

    with pytest.raises(KeyFileError, match="not a regular file"):
        KeyRing(path)


def test_a_folder_in_place_of_a_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="not a regular file"):
        KeyRing(tmp_path)


def test_an_unreadable_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o600)

    with pytest.raises(KeyFileError, match="cannot be read"):
        KeyRing(tmp_path / "file" / "keys.json")


def test_a_file_too_large_for_keys_is_refused(path: Path) -> None:
    path.touch(0o600)
    path.write_bytes(b" " * (2**20 + 1))

    with pytest.raises(KeyFileError, match="larger than"):
        KeyRing(path)


def test_a_key_file_is_not_made_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="make its folder writable"):
        create_keys(tmp_path / "none" / "keys.json", algorithm="EdDSA", now=NOW)


def test_a_new_key_file_is_for_its_owner_only_whatever_the_umask(path: Path) -> None:
    previous = os.umask(0)
    try:
        create_keys(path, algorithm="EdDSA", now=NOW)
        rotate_keys(path, now=NOW)
    finally:
        os.umask(previous)

    assert {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()} == {
        "keys.json": "0o600",
        ".keys.json.lock": "0o600",
    }


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
def test_the_published_keys_have_no_private_member(path: Path, algorithm: KeyAlgorithm) -> None:
    create_keys(path, algorithm=algorithm, now=NOW)
    rotate_keys(path, now=NOW)

    published = KeyRing(path, now=lambda: NOW).public_jwks()

    assert len(published) == 2
    assert not PRIVATE_MEMBERS.intersection({name for jwk in published for name in jwk})


def test_a_key_shows_no_private_part_in_its_repr(path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    private = json.loads(path.read_text())["keys"][0]["d"]

    shown = repr(read_key_file(path)) + repr(KeyRing(path, now=lambda: NOW).signing_key())

    assert private not in shown
    assert "PrivateKey" not in shown


# What a key file holds


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
def test_what_the_current_key_signs_the_published_keys_verify(path: Path, algorithm: KeyAlgorithm) -> None:
    create_keys(path, algorithm=algorithm, now=NOW)
    ring = KeyRing(path, now=lambda: NOW)
    claims = {"sub": "1", "aud": "api", "iat": NOW, "exp": NOW + 60}

    token = sign(claims, ring.signing_key())

    published = {jwk["kid"]: verifying_key(jwk) for jwk in ring.public_jwks()}
    assert verify(token, published, audience="api", issuer=None, now=NOW) == claims
    assert verify(token, ring.verifying_keys(), audience="api", issuer=None, now=NOW) == claims


def test_the_kid_is_the_thumbprint_of_the_published_vector() -> None:
    # RFC 8037 appendix A.3
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}

    kid = thumbprint(load_public_jwk(jwk))

    assert kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        pytest.param({"kid": "mine"}, "thumbprint", id="kid-of-another"),
        pytest.param({"alg": "RS256"}, "alg", id="alg-of-another"),
        pytest.param({"alg": None}, "alg", id="no-alg"),
        pytest.param({"kty": "oct", "k": "AAAA"}, "symmetric", id="symmetric"),
        pytest.param({"d": "AAAA"}, "do not make up a key", id="private-part-of-another"),
        pytest.param({"d": None}, "do not make up a key", id="private-part-null"),
        pytest.param({"x": 1}, "x: missing", id="number-for-text"),
        pytest.param({"created": "now"}, "created", id="created-text"),
        pytest.param({"signs_from": True}, "signs_from", id="signs-from-true"),
        pytest.param({"retires": -1}, "retires", id="retires-negative"),
    ],
)
def test_an_altered_key_is_refused_by_its_place(path: Path, members: dict[str, Any], reason: str) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    edit(path, **members)

    with pytest.raises(KeyFileError, match=rf"keys\[0\].*{reason}"):
        KeyRing(path)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"keys": []}', '{"keys": {}}', '{"keys": [1]}', '{"keys": [], "keys": []}', "\xff"]
)
def test_a_file_that_holds_no_keys_is_refused(path: Path, content: str) -> None:
    path.write_text(content, encoding="latin-1")
    path.chmod(0o600)

    with pytest.raises(KeyFileError, match=str(path)):
        KeyRing(path)


def test_a_missing_key_file_names_the_command_that_makes_one(path: Path) -> None:
    with pytest.raises(KeyFileError, match=f"keys create --file {path}"):
        KeyRing(path)


def test_a_short_rsa_key_is_refused() -> None:
    jwk = private_jwk(generate_private_key(65537, 1024))  # noqa: S505  # short on purpose

    with pytest.raises(KeyFileError, match="1024 bits"):
        load_public_jwk(jwk)


def test_an_existing_key_file_is_never_overwritten(path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    before = path.read_bytes()

    with pytest.raises(KeyFileError, match="exists already"):
        create_keys(path, algorithm="EdDSA", now=NOW)

    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["keys.json"]


# How one key follows another


def test_a_rotation_goes_through_next_current_old_and_retired(path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    rotate_keys(path, overlap_s=100, now=NOW)

    seen = [states(path, NOW + later) for later in (0, 99, 100, 199, 200)]

    assert seen == [
        ["current", "next"],
        ["current", "next"],
        ["old", "current"],
        ["old", "current"],
        ["retired", "current"],
    ]


def test_no_new_key_has_a_kid_that_a_command_line_would_read_as_an_option(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [create_private_key("EdDSA") for _ in range(2000)]
    dashed = next(key for key in made if thumbprint(key.public_key()).startswith("-"))
    plain = next(key for key in made if not thumbprint(key.public_key()).startswith("-"))
    ready = iter((dashed, plain))
    monkeypatch.setattr("compat_auth.tokens.keys.keys.create_private_key", lambda _algorithm: next(ready))

    key = create_keys(path, algorithm="EdDSA", now=NOW)

    assert key.kid == thumbprint(plain.public_key())


def test_a_new_key_is_published_before_it_signs_and_the_old_one_after(path: Path, clock: Clock) -> None:
    first = create_keys(path, algorithm="EdDSA", now=NOW).kid
    second = rotate_keys(path, overlap_s=100, now=NOW).kid
    ring = KeyRing(path, now=clock)

    seen: list[tuple[str, set[str]]] = []
    for later in (0, 100, 200):
        clock.moment = NOW + later
        seen.append((ring.signing_key().kid, {jwk["kid"] for jwk in ring.public_jwks()}))

    assert seen == [(first, {first, second}), (second, {first, second}), (second, {second})]


def test_a_rotation_keeps_the_algorithm(path: Path) -> None:
    create_keys(path, algorithm="RS256", now=NOW)

    key = rotate_keys(path, now=NOW)

    assert key.algorithm == "RS256"


def test_a_rotation_after_every_key_has_retired_signs_at_once_with_the_same_algorithm(path: Path) -> None:
    create_keys(path, algorithm="RS256", now=NOW)
    edit(path, retires=NOW + 1)

    key = rotate_keys(path, now=NOW + 2)

    assert (key.algorithm, key.signs_from) == ("RS256", NOW + 2)
    assert states(path, NOW + 2) == ["current"]


def test_one_key_twice_in_a_file_is_refused(path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({"keys": content["keys"] * 2}))

    with pytest.raises(KeyFileError, match="one key twice"):
        KeyRing(path)


def test_a_second_rotation_must_wait_for_the_first(path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    waiting = rotate_keys(path, overlap_s=100, now=NOW).kid

    with pytest.raises(KeyFileError, match=f"{waiting} is already next and signs in 60 s"):
        rotate_keys(path, overlap_s=100, now=NOW + 40)


def test_a_rotation_drops_keys_that_have_retired(path: Path) -> None:
    first = create_keys(path, algorithm="EdDSA", now=NOW).kid
    rotate_keys(path, overlap_s=100, now=NOW)

    rotate_keys(path, overlap_s=100, now=NOW + 200)

    assert first not in path.read_text()
    assert states(path, NOW + 200) == ["current", "next"]


def test_the_only_signing_key_is_not_retired(path: Path) -> None:
    kid = create_keys(path, algorithm="EdDSA", now=NOW).kid
    rotate_keys(path, now=NOW)

    with pytest.raises(KeyFileError, match="nobody could log in"):
        retire_key(path, kid, now=NOW)

    assert states(path, NOW) == ["current", "next"]


def test_a_stolen_key_is_retired_by_force_and_the_next_one_promoted(path: Path) -> None:
    stolen = create_keys(path, algorithm="EdDSA", now=NOW).kid
    waiting = rotate_keys(path, now=NOW).kid
    retire_key(path, stolen, force=True, now=NOW)
    ring = KeyRing(path, now=lambda: NOW)
    with pytest.raises(NoActiveKey, match="keys rotate"):
        ring.signing_key()

    rotate_keys(path, now=NOW)

    assert KeyRing(path, now=lambda: NOW).signing_key().kid == waiting
    assert stolen not in path.read_text()


def test_the_last_key_is_not_retired_even_by_force(path: Path) -> None:
    kid = create_keys(path, algorithm="EdDSA", now=NOW).kid

    with pytest.raises(KeyFileError, match="only key"):
        retire_key(path, kid, force=True, now=NOW)


def test_a_current_key_whose_successor_is_taken_back_does_not_end(path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    taken_back = rotate_keys(path, overlap_s=100, now=NOW).kid

    retire_key(path, taken_back, now=NOW)

    assert states(path, NOW + 10_000) == ["current"]


def test_an_unknown_kid_is_not_retired(path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)

    with pytest.raises(KeyFileError, match="no key 'other'"):
        retire_key(path, "other", now=NOW)


def test_writers_at_the_same_time_lose_no_key(path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    refused: list[str] = []

    def rotate() -> None:
        try:
            rotate_keys(path, overlap_s=100, now=NOW)
        except KeyFileError as exc:
            refused.append(str(exc))

    threads = [threading.Thread(target=rotate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert states(path, NOW) == ["current", "next"]
    assert len(refused) == 7


def test_a_writer_waits_for_the_one_before(path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    second = threading.Thread(target=rotate_keys, args=(path,), kwargs={"now": NOW})

    with lock_key_file(path):
        second.start()
        second.join(0.2)
        waited = second.is_alive()
    second.join()

    assert waited
    assert states(path, NOW) == ["current", "next"]


def test_writing_through_a_link_keeps_the_link(path: Path, tmp_path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    link = tmp_path / "link.json"
    link.symlink_to(path)

    rotate_keys(link, now=NOW)

    assert link.is_symlink()
    assert states(path, NOW) == ["current", "next"]


# How a running process follows the file


def test_a_change_of_the_file_is_seen_within_a_second(path: Path, clock: Clock) -> None:
    first = create_keys(path, algorithm="EdDSA", now=NOW).kid
    tick = Clock()
    ring = KeyRing(path, now=clock, monotonic=tick)
    rotate_keys(path, overlap_s=0, now=NOW)
    within = ring.signing_key().kid

    tick.moment += 1

    assert within == first
    assert ring.signing_key().kid != first


@pytest.mark.parametrize("mistake", ["bad-content", "open-to-others", "gone"])
def test_a_file_gone_bad_leaves_the_last_good_keys_and_one_line_in_the_log(
    path: Path, mistake: str, caplog: pytest.LogCaptureFixture
) -> None:
    kid = create_keys(path, algorithm="EdDSA", now=NOW).kid
    tick = Clock()
    ring = KeyRing(path, now=lambda: NOW, monotonic=tick)
    if mistake == "bad-content":
        path.write_text("{")
    elif mistake == "open-to-others":
        path.chmod(0o644)
    else:
        path.unlink()

    seen: set[str] = set()
    for _ in range(3):
        tick.moment += 1
        seen.add(ring.signing_key().kid)

    assert seen == {kid}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_file_that_was_mended_is_read_again(path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    good = path.read_text()
    tick = Clock()
    ring = KeyRing(path, now=lambda: NOW, monotonic=tick)
    path.write_text("{")
    tick.moment += 1
    ring.signing_key()
    path.write_text(good)
    second = rotate_keys(path, overlap_s=0, now=NOW + 1).kid

    tick.moment += 1

    assert second in ring.verifying_keys()


def test_no_key_signs_before_its_time(path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    ring = KeyRing(path, now=lambda: NOW - 1)

    with pytest.raises(NoActiveKey):
        ring.signing_key()


# Keys of others


AnyPrivateKey = Ed25519PrivateKey | RSAPrivateKey | ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey
MAKERS: dict[str, Callable[[], AnyPrivateKey]] = {
    "ed25519": Ed25519PrivateKey.generate,
    "rsa": lambda: generate_private_key(65537, 2048),
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
}


def pem(key: AnyPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("form", ["jwks", "jwk", "private-pem", "public-pem"])
@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ec"])
def test_of_a_trusted_key_only_the_public_part_is_published(tmp_path: Path, form: str, kind: str) -> None:
    key = MAKERS[kind]()
    assert not isinstance(key, ed448.Ed448PrivateKey)
    public = key.public_key()
    private = {"kid": thumbprint(public)} | (
        ECAlgorithm.to_jwk(key, as_dict=True) if isinstance(key, ec.EllipticCurvePrivateKey) else private_jwk(key)
    )
    file = tmp_path / "trusted"
    file.write_bytes(
        {
            "jwks": json.dumps({"keys": [private]}).encode(),
            "jwk": json.dumps(private).encode(),
            "private-pem": pem(key),
            "public-pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        }[form]
    )

    merged = merge_jwks([], [str(file)])

    assert len(merged) == 1
    assert merged[0].items() >= (public_members(public) | {"kid": thumbprint(public)}).items()
    assert not PRIVATE_MEMBERS.intersection(merged[0])


def test_the_kid_of_a_pem_key_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "airflow.pem"
    file.write_bytes(pem(Ed25519PrivateKey.generate()))

    merged = merge_jwks([], [f"{file}#kid=airflow-own"])

    assert [jwk["kid"] for jwk in merged] == ["airflow-own"]


def test_our_keys_and_theirs_are_published_together(path: Path, tmp_path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    own = KeyRing(path, now=lambda: NOW).public_jwks()
    file = tmp_path / "airflow.pem"
    file.write_bytes(pem(Ed25519PrivateKey.generate()))

    merged = merge_jwks(own, [f"{file}#kid=theirs", f"{file}#kid=theirs"])

    assert [jwk["kid"] for jwk in merged] == [own[0]["kid"], "theirs"]


def test_another_key_under_our_kid_is_refused(path: Path, tmp_path: Path) -> None:
    kid = create_keys(path, algorithm="EdDSA", now=NOW).kid
    file = tmp_path / "airflow.pem"
    file.write_bytes(pem(Ed25519PrivateKey.generate()))

    with pytest.raises(ConfigError, match="another key already has kid"):
        merge_jwks(KeyRing(path, now=lambda: NOW).public_jwks(), [f"{file}#kid={kid}"])


def test_one_kid_for_several_keys_is_a_configuration_error(path: Path) -> None:
    create_keys(path, algorithm="EdDSA", now=NOW)
    rotate_keys(path, now=NOW)

    with pytest.raises(ConfigError, match="has several"):
        merge_jwks([], [f"{path}#kid=one"])


@pytest.mark.parametrize(
    ("jwk", "reason"),
    [
        pytest.param({}, "kid: missing", id="no-kid"),
        pytest.param({"kid": ""}, "kid: missing", id="empty-kid"),
        pytest.param({"kid": "a", "alg": "HS512"}, "is for EdDSA", id="hmac-with-a-public-key"),
        pytest.param({"kid": "a", "alg": "none"}, "is for EdDSA", id="none"),
        pytest.param({"kid": "a", "kty": "oct", "k": "AAAA"}, "symmetric", id="symmetric"),
        pytest.param({"kid": "a", "crv": "X25519"}, "make up a key", id="exchange-curve"),
        pytest.param({"kid": "a", "crv": "Ed448", "x": "A" * 76}, "Ed25519", id="ed448"),
        pytest.param(
            {"kid": "a"} | public_members(ec.generate_private_key(ec.SECP256R1()).public_key()), "EC", id="elliptic"
        ),
    ],
)
def test_a_jwk_that_cannot_verify_here_is_refused(jwk: dict[str, Any], reason: str) -> None:
    good = public_members(Ed25519PrivateKey.generate().public_key())

    with pytest.raises(KeyFileError, match=reason):
        verifying_key(good | jwk)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b'{"kty": "oct", "k": "AAAA", "kid": "s"}', "symmetric", id="symmetric"),
        pytest.param(b'{"keys": [{"kty": "oct", "k": "AAAA"}]}', "symmetric", id="symmetric-in-a-set"),
        pytest.param(b'{"keys": []}', "no list of keys", id="empty-set"),
        pytest.param(b'{"keys": [1]}', "not an object", id="number-for-key"),
        pytest.param(b'{"kty": "RSA", "n": "AQAB", "e": "AQAB"}', "bits|make up", id="tiny-rsa"),
        pytest.param(b'{"kty": ["RSA"]}', "kty", id="kty-list"),
        pytest.param(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "PEM", id="broken-pem"),
        pytest.param(b" " * (2**20 + 1), "larger than", id="too-large"),
        pytest.param(pem(ed448.Ed448PrivateKey.generate()), "neither Ed25519", id="ed448-pem"),
        pytest.param(pem(generate_private_key(65537, 1024)), "1024 bits", id="short-rsa-pem"),  # noqa: S505  # on purpose
        pytest.param(b"ssh-ed25519 AAAA", "neither JSON nor PEM", id="ssh"),
        pytest.param(
            Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
            ),
            "encrypted",
            id="encrypted",
        ),
    ],
)
def test_a_file_that_holds_no_public_key_is_a_configuration_error(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "trusted"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=rf"trusted_jwks: {file}: .*({reason})"):
        merge_jwks([], [str(file)])


def test_a_missing_trusted_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        merge_jwks([], [str(tmp_path / "none")])
