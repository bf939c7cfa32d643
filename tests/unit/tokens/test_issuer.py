"""The issuer completes an identity, and knows when the check itself has brought the upstream's token."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.config import parse_settings
from compat_auth.credentials import Basic, Credential
from compat_auth.identity import Identity, Token
from compat_auth.tokens.issuer import TokenIssuer
from compat_auth.tokens.strategies import Exchange, Kind, build_strategy

ALICE = Identity("alice", "basic_auth")
PAIR = Basic("alice", "wonder")
MADE, YIELDED = Token("made", 2**40), Token("yielded", 2**40)


class Completing:
    """Completes every identity with a number."""

    def complete(self, identity: Identity) -> Identity:
        return replace(identity, upstream_id="7")


@dataclass
class Recording:
    """A strategy that makes one token, and remembers for whom."""

    asked: list[tuple[Identity, Credential, bool]] = field(default_factory=list["tuple[Identity, Credential, bool]"])

    def obtain(self, identity: Identity, credential: Credential, *, fresh: bool) -> Token:
        self.asked.append((identity, credential, fresh))
        return MADE

    def issue(self, identity: Identity, credential: Credential, kind: Kind) -> Token:
        raise AssertionError("TokenIssuer obtains tokens; it never issues one")

    def copy(self, subject: str, jti: str, expires_at: int) -> None:
        raise AssertionError("TokenIssuer copies no token")


def issuer_of(strategy: object) -> TokenIssuer:
    return TokenIssuer(cast("UserLookup", Completing()), cast("Exchange", strategy))


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("yielded", [None, YIELDED])
def test_a_strategy_that_makes_tokens_makes_one_for_the_completed_identity(fresh: bool, yielded: Token | None) -> None:
    strategy = Recording()

    token = issuer_of(strategy).obtain(ALICE, PAIR, yielded, fresh=fresh)

    assert token == MADE
    assert strategy.asked == [(replace(ALICE, upstream_id="7"), PAIR, fresh)]


def test_strategy_exchange_uses_the_token_that_the_check_yielded() -> None:
    settings = parse_settings(
        {"upstream": {"url": "http://127.0.0.1:9"}, "token": {"strategy": "exchange"}}, origin="test"
    )

    assert issuer_of(build_strategy(settings)).obtain(ALICE, PAIR, YIELDED) is YIELDED


def test_strategy_exchange_logs_in_again_where_the_yielded_token_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = parse_settings(
        {"upstream": {"url": "http://127.0.0.1:9"}, "token": {"strategy": "exchange"}}, origin="test"
    )
    monkeypatch.setattr(Exchange, "obtain", lambda *_args, **_kwargs: MADE)

    assert issuer_of(build_strategy(settings)).obtain(ALICE, PAIR, YIELDED, fresh=True) is MADE
