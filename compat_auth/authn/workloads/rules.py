"""The rules of `[[workloads]]`: which token acts as which account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from compat_auth.authn.workloads.conditions import ClaimCondition, read_conditions
from compat_auth.authn.workloads.patterns import ClaimPattern, is_plain
from compat_auth.authn.workloads.platforms import names_somebody, platform_of, require_machine, stranger_in
from compat_auth.config import WorkloadSettings
from compat_auth.crypto.strict_json import is_list
from compat_auth.errors import ConfigError, InvalidToken, NoSuchUser
from compat_auth.scopes import Scope, parse_scopes


@dataclass(frozen=True, slots=True)
class WorkloadRule:
    """One rule.

    Attributes:
        name: For the audit log.
        issuer: `iss`, exactly.
        audience: What `aud` must be or contain; any one.
        claims: What those other claims must be that have a single value, by name; a member of an object by its path in TOML.
        account: Whom the workload acts as.
        scopes: What its tokens are limited to.
        conditions: All of which must hold: those of `claims`, and those on lists.
    """

    name: str
    issuer: str
    audience: tuple[str, ...]
    claims: Mapping[str, ClaimPattern]
    account: str
    scopes: tuple[Scope, ...]
    conditions: tuple[ClaimCondition, ...]

    @classmethod
    def from_settings(cls, table: WorkloadSettings, where: str) -> WorkloadRule:
        """Return the rule of a table.

        Args:
            table: The table.
            where: What to call it in an error, such as `workloads[0]`.

        Raises:
            ConfigError: It is incomplete, or would match the tokens of everybody whom the issuer serves.
        """
        for audience in table.audience:
            if not is_plain(audience) or "*" in audience:
                raise ConfigError(f"{where}.audience: empty, or with a wildcard; write aud exactly as the token has it")
        conditions = read_conditions(table.claims, f"{where}.claims")
        platform = platform_of(table.issuer, {found.path[0] for found in conditions}, table.claims.get("sub"))
        if not any(names_somebody(platform, found.path, pattern) for found in conditions for pattern in found.patterns):
            raise ConfigError(
                f"{where}.claims: any token of {table.issuer} could match, of any owner; {_WHAT_NAMES[platform]}"
            )
        try:
            scopes = parse_scopes(tuple(table.scopes))
        except ValueError as exc:
            raise ConfigError(f"{where}.scopes: {exc}; write read, trigger, dags:ID, 'METHOD /path' or all") from None
        claims = {found.name: found.patterns[0] for found in conditions if not found.of_list}
        return cls(table.name or where, table.issuer, tuple(table.audience), claims, table.account, scopes, conditions)

    def why_not(self, claims: Mapping[str, Any]) -> str:
        """Return the first claim that is not as the rule wants it, or what the rule lacks; "" where the rule matches."""
        aud = claims.get("aud")
        if not any(name in (aud if is_list(aud) else [aud]) for name in self.audience):
            return "aud"
        for condition in self.conditions:
            if not condition.holds(claims):
                return condition.name
        # A server of one's own shows only by its tokens which claims name an owner there.
        platform = platform_of(self.issuer, claims, claims.get("sub"))
        patterns = ((found.path, pattern) for found in self.conditions for pattern in found.patterns)
        if not any(names_somebody(platform, path, pattern) for path, pattern in patterns):
            return f"none of its claims names an owner; {_WHAT_NAMES[platform]}"
        return stranger_in(self.issuer, claims, self.claims)


def read_rules(tables: Iterable[WorkloadSettings]) -> tuple[WorkloadRule, ...]:
    """Return the rules of `[[workloads]]`.

    Raises:
        ConfigError: One cannot work or is open to everybody, or two have one name.
    """
    rules = tuple(WorkloadRule.from_settings(table, f"workloads[{place}]") for place, table in enumerate(tables))
    for place, rule in enumerate(rules):
        if rule.name in [earlier.name for earlier in rules[:place]]:
            raise ConfigError(
                f"workloads[{place}].name: {rule.name!r} is there twice; the audit log could not tell them apart"
            )
    return rules


def find_rule(rules: Iterable[WorkloadRule], claims: Mapping[str, Any]) -> WorkloadRule:
    """Return the rule for a verified token.

    Args:
        rules: Those of its issuer.
        claims: Of the token, verified.

    Raises:
        InvalidToken: None matches, or the token is a person's.
        NoSuchUser: Several match and want different things: none of them is chosen, so that the order of a file decides
            nothing.
    """
    rules = tuple(rules)
    require_machine(str(claims.get("iss")), claims)
    looked_at = [(rule, rule.why_not(claims)) for rule in rules]
    found = [rule for rule, why in looked_at if not why]
    if not found:
        differing = ", ".join(f"{rule.name}: {why}" for rule, why in looked_at)
        raise InvalidToken(f"no rule of [[workloads]] matches ({differing})")
    if len({(rule.account, rule.scopes) for rule in found}) > 1:
        names = " and ".join(rule.name for rule in found)
        raise NoSuchUser(f"{names} match the same token, for different accounts or scopes; make one of them narrower")
    return found[0]


_WHAT_NAMES = {
    "github": "add repository_id or repository_owner_id, as `compat-auth workloads suggest` prints them",
    "gitlab": "add project_id, or project_path with its group, as `compat-auth workloads suggest` prints them",
    "kubernetes": 'add sub = "system:serviceaccount:NAMESPACE:NAME", or "kubernetes.io".namespace',
    "aws": 'add sub = "arn:aws:iam::ACCOUNT:role/NAME"',
    "google": "add sub, the number of the service account, or its email",
    "entra": "add oid or azp (appid in version 1), the ids of the application, or roles",
    "": "add a claim that only your workload has, such as sub, without a wildcard",
}
