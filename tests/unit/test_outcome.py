"""The four answers."""

from __future__ import annotations

from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Reject


def test_an_accept_is_not_reusable_unless_the_backend_says_so() -> None:
    assert Accept(Identity("zoë", "mine")).reusable_s == 0


def test_a_reject_is_401_unless_the_backend_says_403() -> None:
    assert Reject("wrong password").status == 401


def test_an_accept_does_not_show_the_token_that_the_check_yielded() -> None:
    accept = Accept(Identity("zoë", "mine"), token=Token("hunter2", 1))

    assert "hunter2" not in repr(accept)
