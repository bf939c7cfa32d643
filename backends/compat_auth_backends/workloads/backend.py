"""Jobs, pods and machines that hold no secret: the platform that runs them gives them a token, and a rule says who they are.

A token is looked at if its `iss` is the issuer of a rule. Signature, `aud` and times have to be right then, and exactly
one meaning has to be found among the rules of that issuer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.config import Settings
from compat_auth.credentials import Bearer, Credential
from compat_auth.errors import ConfigError, InvalidToken, NoSuchUser
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity
from compat_auth.openid import IntrospectionCache, JwksCache, MemoryIntrospections, open_introspections, read_unverified
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.users import Accounts
from compat_auth.workloads import WorkloadRule, find_rule, read_rules
from compat_auth_backends.openid.claims import credential_id_of, identifying_part
from compat_auth_backends.workloads.keys import key_place, open_keys

CLIENT_AUTH = None
# A managed identity of Azure lives for a day; a service account's token of Kubernetes that was made to last a year is
# refused, because nobody could revoke it.
MAX_LIFETIME_S = 25 * 3600
# Kubernetes writes no `typ`.
TYPES = ("JWT", "at+jwt", "application/at+jwt", "")
# How soon an account that was disabled or deleted is noticed.
MAX_REUSE_S = 60.0
_REFUSALS = 10_000
# Whatever the list calls the backend: the pages of personal tokens know by it that no person asks.
_KIND = "workload"
_GOOGLE = frozenset(("https://accounts.google.com", "accounts.google.com"))


class _TakenBack(InvalidToken):
    """A workload's token that was revoked here: another backend would accept it as a person's, without its limits."""


@dataclass(frozen=True, slots=True)
class _Platform:
    """One issuer: its keys, and the rules for its tokens."""

    keys: JwksCache
    rules: tuple[WorkloadRule, ...]
    is_shared: bool = False


class WorkloadBackend(Backend):
    """Checks tokens of the platforms that `[[workloads]]` names.

    Args:
        platforms: By issuer.
        accounts: Whom a workload can act as.
        realm: Of the challenge.
        refusals: What was logged out here; None: of this process alone.
        now: Seconds since the epoch.
    """

    name = "workload"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Bearer})
    needs: ClassVar[tuple[str, ...]] = ("[[workloads]]",)

    def __init__(
        self,
        platforms: Mapping[str, _Platform],
        accounts: Accounts,
        *,
        realm: str = "Airflow",
        refusals: IntrospectionCache | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._platforms = platforms
        self._accounts = accounts
        self._realm = realm
        self._refusals = refusals or IntrospectionCache("refused here: workload", MemoryIntrospections(_REFUSALS))
        self._now = now

    @classmethod
    def from_settings(cls, settings: Settings) -> WorkloadBackend:
        """Return the backend with the rules of `[[workloads]]`; nothing is fetched yet.

        Raises:
            ConfigError: There is no rule, one of them is open to everybody, or an issuer's keys cannot be where it says.
        """
        if not settings.workloads:
            raise ConfigError(
                "workloads: no rule; add a [[workloads]] table with issuer, audience, claims, account and scopes: "
                "`compat-auth workloads suggest` prints one for a token"
            )
        rules = read_rules(settings.workloads)
        platforms: dict[str, _Platform] = {}
        for issuer in dict.fromkeys(rule.issuer for rule in rules):
            tables = [
                (f"workloads[{place}]", table)
                for place, table in enumerate(settings.workloads)
                if table.issuer == issuer
            ]
            keys = open_keys(issuer, key_place(tables), where=tables[0][0])
            own = tuple(rule for rule in rules if rule.issuer == issuer)
            platforms[issuer] = _Platform(keys, own, _is_shared(issuer, settings, tables[0][0]))
        refusals = IntrospectionCache("refused here: workload", open_introspections(settings, _REFUSALS))
        return cls(platforms, Accounts.from_settings(settings), realm=settings.basic_auth.realm, refusals=refusals)

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept a workload that a rule knows; skip a token of any other issuer.

        Raises:
            BackendUnavailable: The issuer's keys, the store or a directory could not be asked.
        """
        if not isinstance(credential, Bearer):
            return Skip()
        platform = self._platform_of(credential.token)
        if platform is None:
            return Skip()
        try:
            return self._admit(platform, credential.token)
        except InvalidToken as error:
            if platform.is_shared and not isinstance(error, _TakenBack):
                # Another backend takes tokens of this issuer, too, such as those of persons.
                return Skip()
            refusal = f'Bearer realm="{self._realm}", error="invalid_token"'
            return Reject(f"workload: {error}", challenges=(refusal,))
        except NoSuchUser as error:
            return Reject(f"workload: {error}", status=error.status, vouched=True)

    def may_claim(self, credential: Credential) -> bool:
        """Return whether a Bearer names an issuer of a rule."""
        return not isinstance(credential, Bearer) or self._platform_of(credential.token) is not None

    def answers_without_flask(self) -> bool:
        """Return whether no directory of the look-up reads Flask's request."""
        return answers_without_flask(self._accounts)

    def refuse(self, credential: Credential, until: float) -> bool:
        """Refuse a good token from now on, in every process where `redis_url` is set.

        Raises:
            BackendUnavailable: The issuer's keys could not be asked.
        """
        platform = self._platform_of(credential.token) if isinstance(credential, Bearer) else None
        if platform is None or not isinstance(credential, Bearer):
            return False
        try:
            self._rule_for(platform, credential.token)
        except (InvalidToken, NoSuchUser):
            return False
        self._refusals.revoke(identifying_part(credential.token), until=until, reason="logged out here")
        return True

    def probe(self) -> str:
        """Return how many keys each issuer publishes.

        Raises:
            BackendUnavailable: An issuer could not be asked.
        """
        return "; ".join(
            f"{issuer} publishes {platform.keys.probe()} keys" for issuer, platform in self._platforms.items()
        )

    def challenges(self) -> tuple[str, ...]:
        """Return the invitation to a bearer token (RFC 6750 section 3)."""
        return (f'Bearer realm="{self._realm}"',)

    def _platform_of(self, token: str) -> _Platform | None:
        try:
            issuer = read_unverified(token).get("iss")
        except InvalidToken:
            return None
        return self._platforms.get(issuer) if isinstance(issuer, str) else None

    def _rule_for(self, platform: _Platform, token: str) -> tuple[WorkloadRule, dict[str, object]]:
        if reason := self._refusals.why_refused(identifying_part(token)):
            raise _TakenBack(reason)
        claims = platform.keys.verify(
            token,
            audience=tuple(dict.fromkeys(name for rule in platform.rules for name in rule.audience)),
            issuer=platform.rules[0].issuer,
            types=TYPES,
            now=self._now(),
            max_lifetime_s=MAX_LIFETIME_S,
        )
        return find_rule(platform.rules, claims), claims

    def _admit(self, platform: _Platform, token: str) -> Outcome:
        rule, claims = self._rule_for(platform, token)
        found = self._accounts.find(rule.account)
        subject, expires_at = str(claims["sub"]), claims["exp"]
        assert isinstance(expires_at, int)  # noqa: S101  # for the type checkers: it was verified
        identity: Identity = replace(
            found,
            backend=self.name,
            subject=subject,
            scopes=rule.scopes,
            expires_at=expires_at,
            credential_id=credential_id_of(_KIND, token),
        )
        reusable_s = max(0, min(MAX_REUSE_S, expires_at - self._now()))
        return Accept(identity, reusable_s=reusable_s, reason=f"rule {rule.name}: {subject} of {rule.issuer}")


def _is_shared(issuer: str, settings: Settings, where: str) -> bool:
    """Return whether another backend of the chain takes tokens of the same issuer.

    Raises:
        ConfigError: It would be asked first, and refuse what is a workload's.
    """
    chain = settings.auth_backends
    others = {"oidc"} if issuer in [table.issuer for table in settings.oidc.issuers] else set[str]()
    if issuer in _GOOGLE:
        others |= {name for name in chain if name.endswith("google_openid")}
    sharing = [name for name in chain if name in others]
    if sharing and "workload" in chain and chain.index(sharing[0]) < chain.index("workload"):
        raise ConfigError(
            f"{where}.issuer: {sharing[0]} takes tokens of {issuer}, too, and would refuse a workload's; write workload "
            "before it in auth_backends"
        )
    return bool(sharing)


init_app, requires_authentication = airflow2_contract("workload", WorkloadBackend)
