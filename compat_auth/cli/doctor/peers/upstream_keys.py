"""Which of our signing keys the upstream, an Airflow, trusts: it gets an expired token signed with each.

Airflow reports that a token has expired only after it has verified the signature, so the token can do nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from compat_auth.cli.diagnosis.minted_probe import trusts
from compat_auth.cli.diagnosis.upstream_probe import UpstreamProbe
from compat_auth.cli.doctor.result import Result
from compat_auth.concurrency.clock import unix_now
from compat_auth.config import Settings
from compat_auth.tokens.jose.jwk import SigningKey
from compat_auth.tokens.keys.key_file import read_key_file
from compat_auth.tokens.keys.keys import key_state
from compat_auth.tokens.strategies import Minted, build_strategy

_ID = "upstream keys"


def examine_upstream_keys(settings: Settings) -> Iterator[Result]:
    """Yield whether the upstream trusts each published key.

    Raises:
        ConfigError, UpstreamTimeout, UpstreamUnreachable: There was no complete answer.
    """
    if settings.token.strategy != "key_pair" or settings.upstream.profile == "generic":
        yield Result.not_asked(_ID, "only Airflow with token.strategy = key_pair has our keys")
        return
    strategy = build_strategy(settings)
    assert isinstance(strategy, Minted)  # noqa: S101  # for the type checkers: key_pair is
    probe, now = UpstreamProbe.from_settings(settings), unix_now()
    stored = read_key_file(Path(settings.token.key_file)).keys
    for key in stored:
        state = key_state(key, stored, now)
        if state == "retired":
            continue
        signing = SigningKey(key.kid, key.algorithm, key.private)
        if trusts(probe, _signed_with(strategy, signing)):
            yield Result.okay(_ID, f"{key.kid} ({state}): trusted", settings.upstream.url)
        elif state == "next":
            text = f"{key.kid} (next): not trusted yet, and it signs in {max(0, key.signs_from - now) // 60} minutes"
            step = "check that Airflow reads the current JWKS, which it does at most once an hour; restart it if it reads a file"
            yield Result(_ID, "warning", text, settings.upstream.url, step)
        else:
            step = "add the output of `compat-auth keys jwks` to what [api_auth] trusted_jwks_url names"
            yield Result(_ID, "failure", f"{key.kid} ({state}): not trusted", settings.upstream.url, step)


def _signed_with(strategy: Minted, key: SigningKey) -> Minted:
    return replace(strategy, signing_key=lambda: key)
