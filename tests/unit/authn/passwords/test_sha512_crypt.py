"""SHA-512-crypt against the vectors that its specification publishes."""

from __future__ import annotations

import pytest

from compat_auth.authn.passwords.sha512_crypt import verify

# https://www.akkadia.org/drepper/SHA-crypt.txt, the self-test at its end.
VECTORS = [
    pytest.param(
        "Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    pytest.param(
        "Hello world!",
        "$6$rounds=10000$saltstringsaltst$"
        "OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
    ),
    pytest.param(
        "This is just a test",
        "$6$rounds=5000$toolongsaltstrin$"
        "lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0",
    ),
    pytest.param(
        "a very much longer text to encrypt.  This one even stretches over morethan one line.",
        "$6$rounds=1400$anotherlongsalts$"
        "POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1",
    ),
    pytest.param(
        "we have a short salt string but not a short password",
        "$6$rounds=77777$short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0",
    ),
    pytest.param(
        "a short string",
        "$6$rounds=123456$asaltof16chars..$"
        "BtCwjqMJGx5hrJhZywWvt0RLE8uZ4oPwcelCjmw2kSYu.Ec6ycULevoBK25fs2xXgMNrCzIMVcgEJAstJeonj1",
    ),
]


@pytest.mark.parametrize(("password", "stored"), VECTORS)
def test_a_published_vector_matches(password: str, stored: str) -> None:
    answer = verify(password.encode(), stored)

    assert answer is True


@pytest.mark.parametrize(("password", "stored"), VECTORS[:4])
def test_no_other_password_matches_a_published_vector(password: str, stored: str) -> None:
    answers = [verify(other, stored) for other in (b"", password.encode() + b"x", password.encode()[:-1])]

    assert answers == [False, False, False]


def test_what_follows_a_nul_is_not_ignored() -> None:
    stored = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"

    answer = verify(b"Hello world!\0anything", stored)

    assert answer is False


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("$5$salt$", id="another-scheme"),
        pytest.param("$6$rounds=999$salt$", id="fewer-rounds-than-crypt-takes"),
        pytest.param("$6$rounds=05000$salt$", id="leading-zero"),
        pytest.param("$6$rounds=$salt$", id="no-number"),
        pytest.param("$6$saltsaltsaltsalts$", id="salt-of-seventeen"),
        pytest.param("$6$sa\0lt$", id="nul-in-the-salt"),
    ],
)
def test_a_text_that_crypt_never_wrote_is_refused(head: str) -> None:
    stored = head + "a" * 86

    with pytest.raises(ValueError, match="not a SHA-512-crypt hash"):
        verify(b"password", stored)
