"""Sends our own tokens to the upstream, to find a wrong secret, key or audience before the first request.

First a token that expired an hour ago: it can do nothing, and Airflow reports the expiry only after it has verified the
signature. Then, if a user of the upstream is known, a token for that user that lives for half a minute and reads one DAG.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from compat_auth.cli.diagnosis.upstream_probe import UpstreamProbe
from compat_auth.config import Settings
from compat_auth.directory import DirectoryUser
from compat_auth.errors import ConfigError, UpstreamUnreachable
from compat_auth.identity import Identity
from compat_auth.net.http_call import HttpAnswer
from compat_auth.tokens.jose.jwt import sign
from compat_auth.tokens.strategies import Minted

_AGE_S = 7200  # more than [token] ttl_s may be
_TTL_S = 30
_QUESTION = "/api/v2/dags?limit=1"
_FAB_QUESTION = "/auth/fab/v1/users?limit=1"
_NAME = "compat-auth check"
# In FAB, the first user always has id 1.
_SOMEBODY = Identity(_NAME, "check", upstream_id="1", roles=("VIEWER",))


def judge(
    settings: Settings,
    strategy: Minted,
    probe: UpstreamProbe,
    *,
    anybody: Callable[[], DirectoryUser | None],
    is_serving: Callable[[], bool],
) -> str:
    """Return the answer of the upstream, an Airflow, to a token that we have minted.

    Args:
        settings: With `[token]` and `[upstream]`.
        strategy: Signs the tokens.
        probe: Sends the requests.
        anybody: Returns an active user with an id in the upstream, or None.
        is_serving: Whether our gateway runs now, so that the upstream could fetch our public keys.

    Raises:
        ConfigError: The upstream rejects the token; the message names the setting.
        UpstreamTimeout, UpstreamUnreachable: There was no complete answer, or it did not show whether the token is valid.
    """
    somebody = _SOMEBODY
    expired = _ask_expired(probe, strategy)
    if not _mentions(expired, "expired"):
        if settings.token.strategy == "key_pair" and not is_serving():
            # Avoid a deadlock: a service that runs this check before it starts would wait for Airflow, which waits for our keys.
            return "not checked: Airflow may fetch our public keys from the gateway; run this again while the gateway serves"
        raise _refused_signature(settings, expired)
    if settings.upstream.profile == "airflow-fab":
        user = anybody()
        if user is None:
            return "the upstream accepts our signature; audience and issuer not checked, because no user of it is known"
        somebody = replace(somebody, username=user.username, upstream_id=user.upstream_id)
    answer = probe.ask("GET", _QUESTION, token=_mint(strategy, somebody, 0))
    if answer.status == 200 or (answer.status == 403 and _mentions(answer, "forbidden")):
        return "the upstream accepts our token"
    if answer.status >= 500:
        raise UpstreamUnreachable(
            f"upstream.url: {probe.url} answers {answer.status} to GET {_QUESTION}; look at Airflow's log"
        )
    raise _refused_claims(settings, probe, somebody)


def trusts(probe: UpstreamProbe, strategy: Minted) -> bool:
    """Return whether the upstream, an Airflow, verifies the signature of an expired token, which gives no access.

    Raises:
        UpstreamTimeout, UpstreamUnreachable: There was no complete answer.
    """
    return _mentions(_ask_expired(probe, strategy), "expired")


def _ask_expired(probe: UpstreamProbe, strategy: Minted) -> HttpAnswer:
    return probe.ask("GET", _QUESTION, token=_mint(strategy, _SOMEBODY, -_AGE_S))


def _mint(strategy: Minted, identity: Identity, seconds: int) -> str:
    """Return a token that is minted this many seconds from now."""
    profile = replace(strategy.profile, ttl_s=_TTL_S)
    return sign(profile.claims_for(identity, now=strategy.now() + seconds), strategy.signing_key())


def _mentions(answer: HttpAnswer, text: str) -> bool:
    return answer.status in (401, 403) and text in answer.body.decode("latin-1").lower()


def _refused_signature(settings: Settings, answer: HttpAnswer) -> Exception:
    if answer.status not in (401, 403):
        return UpstreamUnreachable(
            f"upstream.url: the upstream answers {answer.status} to an expired token, where 401 was expected; "
            "look at Airflow's log"
        )
    if settings.token.strategy == "shared_secret":
        return ConfigError(
            "token.secret: Airflow rejects the signature, so it has another secret; copy [api_auth] jwt_secret of "
            "airflow.cfg, or AIRFLOW__API_AUTH__JWT_SECRET of the API server, and restart Airflow if you change it. If "
            "neither is set, as in an airflow.cfg of Airflow 2, each process of Airflow generates its own: set one"
        )
    return ConfigError(
        "token.key_file: Airflow rejects the signature, so it does not know our key; add the output of `compat-auth keys "
        "jwks` to what [api_auth] trusted_jwks_url names, allow its algorithm in jwt_algorithm, and restart Airflow"
    )


def _refused_claims(settings: Settings, probe: UpstreamProbe, somebody: Identity) -> ConfigError:
    has_fab = probe.ask("GET", _FAB_QUESTION).status == 401
    profile = settings.upstream.profile
    if has_fab != (profile == "airflow-fab"):
        other = "airflow-fab" if has_fab else "airflow-simple"
        return ConfigError(
            f"upstream.profile: Airflow accepts our signature, but its auth manager is not {profile}; set {other!r}"
        )
    issuer = f"issuer {settings.token.issuer!r}" if settings.token.issuer else "no issuer"
    user = f", or it has no user {somebody.upstream_id} (another database?)" if has_fab else ""
    return ConfigError(
        f"token.audience: Airflow accepts our signature, but not the claims: audience {settings.token.audience!r}, {issuer}"
        f"{user}; set token.audience to Airflow's [api_auth] jwt_audience and token.issuer to its jwt_issuer"
    )
