"""Stored password hashes, by published vectors first."""

from __future__ import annotations

import time

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.security import generate_password_hash

from compat_auth.authn.passwords.hashes import check_hash, decoy_like, find_fault, new_hasher, scheme_of

# Who published each: OpenBSD (Openwall's crypt_blowfish), Argon2's test.c, Drepper's SHA-crypt.txt, RFC 6070,
# RFC 7914 section 12, RFC 4231 section 4.3.
VECTORS = [
    pytest.param("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", id="bcrypt-2a"),
    pytest.param("U*U", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", id="bcrypt-2b"),
    pytest.param("U*U", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", id="bcrypt-2y"),
    pytest.param(
        "password",
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        id="argon2id",
    ),
    pytest.param(
        "password",
        "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
        id="argon2i",
    ),
    pytest.param(
        "Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        id="sha512-crypt",
    ),
    pytest.param(
        "Hello world!",
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/"
        "YTBmSK6H9qs/y3RnOaw5v.",
        id="sha512-crypt-rounds",
    ),
    pytest.param("password", "pbkdf2:sha1:4096$salt$4b007901b765489abead49d926f721d065a429c1", id="pbkdf2-sha1"),
    pytest.param(
        "pleaseletmein",
        "scrypt:16384:8:1$SodiumChloride$7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
        id="scrypt",
    ),
    pytest.param(
        "what do ya want for nothing?",
        "sha256$Jefe$5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        id="werkzeug-salted-sha256",
    ),
]


@pytest.mark.parametrize(("password", "stored"), VECTORS)
def test_the_password_of_a_published_vector_matches_and_no_other(password: str, stored: str) -> None:
    answers = [check_hash(stored, given) for given in (password, password + "x", password.swapcase(), "")]

    assert answers == [True, False, False, False]


@pytest.mark.parametrize("method", ["scrypt", "pbkdf2:sha256:50000", "pbkdf2:sha256:260000", "pbkdf2:sha512:1000"])
def test_what_werkzeug_writes_for_a_password_outside_ascii_matches(method: str) -> None:
    stored = generate_password_hash("пароль-ñ€", method)

    assert check_hash(stored, "пароль-ñ€")
    assert not check_hash(stored, "пароль-n€")


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param("", id="empty"),
        pytest.param("secret", id="plain-text"),
        pytest.param("plain$$secret", id="werkzeug-plain"),
        pytest.param("md5$salt$" + "0" * 32, id="werkzeug-md5"),
        pytest.param(
            "sha256$$2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", id="werkzeug-unsalted"
        ),
        pytest.param("$apr1$salt$qWuNBgxVHT8kpKlkgFVm20", id="apache-md5"),
        pytest.param("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", id="apache-sha1"),
        pytest.param("rEK1ecacw.7.c", id="des-crypt"),
        pytest.param("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8", id="sha256-crypt"),
        pytest.param("!$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", id="disabled"),
        pytest.param("$2b$05$short", id="bcrypt-short"),
        pytest.param("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", id="bcrypt-with-the-sign-bug"),
        pytest.param("$argon2id$v=19$m=a,t=2,p=1$c29tZXNhbHQ$CTFh", id="argon2-no-number"),
        pytest.param("$argon2id$v=19$m=19456,t=2,p=1$!!$!!", id="argon2-no-base64"),
        pytest.param("$argon2id$", id="argon2-empty"),
        pytest.param("$6$salt$short", id="sha512-crypt-short"),
        pytest.param("$6$rounds=10$salt$" + "a" * 86, id="sha512-crypt-too-few-rounds"),
        pytest.param("pbkdf2:sha256:1000$salt$abcd", id="pbkdf2-short"),
        pytest.param("pbkdf2:md5:1000$salt$" + "0" * 32, id="pbkdf2-md5"),
        pytest.param("pbkdf2:shake_128:1000$salt$" + "0" * 32, id="pbkdf2-digest-without-a-size"),
        pytest.param("pbkdf2:sha256:0$salt$" + "0" * 64, id="pbkdf2-no-iterations"),
        pytest.param("scrypt:1000:8:1$salt$" + "0" * 128, id="scrypt-n-no-power-of-two"),
        pytest.param("scrypt:32768:8$salt$" + "0" * 128, id="scrypt-two-numbers"),
    ],
)
def test_a_refused_or_malformed_hash_never_matches_and_one_warning_hides_it(
    stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = check_hash(stored, "secret")

    assert answer is False
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text
    assert not stored or stored not in caplog.text


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param("$2b$31$" + "a" * 53, id="bcrypt-cost"),
        pytest.param("$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$" + "A" * 43, id="argon2-memory"),
        pytest.param("$argon2id$v=19$m=65536,t=4294967295,p=1$c29tZXNhbHQ$" + "A" * 43, id="argon2-passes"),
        pytest.param("$argon2id$v=19$m=65536,t=1,p=5000$c29tZXNhbHQ$" + "A" * 43, id="argon2-lanes"),
        pytest.param("$6$rounds=999999999$saltstring$" + "a" * 86, id="sha512-crypt-rounds"),
        pytest.param("pbkdf2:sha256:999999999$salt$" + "0" * 64, id="pbkdf2-iterations"),
        pytest.param("scrypt:1048576:32:1$salt$" + "0" * 128, id="scrypt-memory"),
        pytest.param("scrypt:2:1:100000000$salt$" + "0" * 128, id="scrypt-lanes"),
        pytest.param("pbkdf2:sha256:1000$" + "s" * 10_000 + "$" + "0" * 64, id="salt-of-ten-thousand"),
    ],
)
def test_a_stored_hash_cannot_ask_for_minutes_or_gigabytes(stored: str) -> None:
    started = time.process_time()

    answer = check_hash(stored, "secret")

    assert answer is False
    assert find_fault(stored)
    assert time.process_time() - started < 0.5


def test_bcrypt_does_not_let_in_what_only_begins_like_a_long_password() -> None:
    stored = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()

    assert check_hash(stored, "x" * 72)
    assert not check_hash(stored, "x" * 73)


def test_a_password_beyond_the_limit_is_wrong_whatever_it_begins_with() -> None:
    stored = generate_password_hash("x" * 4096, "pbkdf2:sha256:1000")

    assert check_hash(stored, "x" * 4096)
    assert not check_hash(stored, "x" * 4097)


def test_a_password_that_is_no_text_is_wrong() -> None:
    stored = new_hasher().hash("secret")

    assert not check_hash(stored, "\ud800")


@pytest.mark.parametrize(("password", "stored"), VECTORS)
def test_a_decoy_has_the_scheme_and_cost_of_the_hash_but_no_password(password: str, stored: str) -> None:
    decoy = decoy_like([stored])

    assert scheme_of(decoy) == scheme_of(stored)
    assert find_fault(decoy) == ""
    assert decoy != decoy_like([stored])
    assert not check_hash(decoy, password)


def test_the_decoy_is_like_the_costliest_and_ignores_what_cannot_be_used() -> None:
    cheap, costly, absurd = "sha256$s$" + "0" * 64, "pbkdf2:sha256:260000$s$" + "0" * 64, "$2b$31$" + "a" * 53

    decoy = decoy_like([cheap, costly, absurd, ""])

    assert decoy.startswith("pbkdf2:sha256:260000$")


def test_where_there_is_no_hash_the_decoy_is_like_a_new_one() -> None:
    decoy = decoy_like([])

    assert decoy.split("$")[:4] == new_hasher().hash("secret").split("$")[:4]
    assert not check_hash(decoy, "secret")


CHEAP = (
    "$2b$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    "$6$rounds=1000$saltstring$" + "a" * 86,
    "pbkdf2:sha256:1$salt$" + "0" * 64,
    "scrypt:2:1:1$salt$" + "0" * 128,
    "sha256$salt$" + "0" * 64,
)


@given(
    st.sampled_from(CHEAP),
    st.integers(0, 60),
    st.integers(0, 3),
    st.text(alphabet="$:=,.aA0+\u00e9\u0663\ud800\0", max_size=3),
)
def test_no_stored_text_whatever_raises(stored: str, start: int, removed: int, inserted: str) -> None:
    # A random digit in the cost stays below 4: no "9" that would make a check last.
    spoiled = stored[:start] + inserted + stored[start + removed :]

    assert check_hash(spoiled, "secret") is False
