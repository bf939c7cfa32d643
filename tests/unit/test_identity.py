"""An identity and a token are values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from compat_auth.identity import Identity, Token


def test_an_identity_cannot_be_changed_after_it_was_vouched_for() -> None:
    identity = Identity("zoë", "basic_auth")

    with pytest.raises(FrozenInstanceError):
        identity.username = "admin"  # type: ignore[misc]  # the point  # pyright: ignore[reportAttributeAccessIssue]


def test_a_token_does_not_show_its_value() -> None:
    token = Token("eyJ.secret.value", 1)

    assert "secret" not in repr(token)
