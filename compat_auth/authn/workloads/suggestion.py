"""The lines of a rule for a token that somebody shows: read, not believed, and never repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from compat_auth.authn.workloads.conditions import member, written
from compat_auth.authn.workloads.patterns import is_plain
from compat_auth.authn.workloads.platforms import (
    KUBERNETES_CLAIM,
    Platform,
    platform_of,
    require_machine,
    stranger_in,
)
from compat_auth.authn.workloads.rules import WorkloadRule
from compat_auth.authn.workloads.width import widths_of
from compat_auth.config import WorkloadSettings
from compat_auth.crypto.strict_json import is_list, is_object
from compat_auth.errors import ConfigError, InvalidToken

ACCOUNT = "etl-robot"
SCOPES = ("trigger",)
# Claims that stay when names change and that no other workload ever gets, then those that say which job it is.
_STABLE: Mapping[Platform, tuple[str, ...]] = {
    "github": ("repository_id", "repository_owner_id"),
    "gitlab": ("project_id", "project_path"),
    "kubernetes": ("sub",),
    "aws": ("sub",),
    "google": ("sub", "email"),
    "entra": ("tid", "oid", "azp", "appid"),
    "": ("sub",),
}
# Lists that say nothing about what a workload may do, or that a rule does not look at.
_NO_GRANTS = frozenset(("aud", "amr", "xms_cc", "xms_tdbr", "allowed-origins"))
_MAX_OFFERED = 4


def suggest(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the lines of a rule that matches a token with these claims, and remarks as comments.

    Args:
        claims: Of the token; nobody has checked them.

    Raises:
        InvalidToken: No rule could match it: it is a person's, or lacks a claim.
    """
    issuer, aud = claims.get("iss"), claims.get("aud")
    audiences: list[Any] = aud if is_list(aud) else [aud]
    if not isinstance(issuer, str) or not is_plain(issuer):
        raise InvalidToken("iss: missing, or not plain text; this is no token of a workload")
    if not audiences or not all(isinstance(name, str) and is_plain(name) and "*" not in name for name in audiences):
        raise InvalidToken("aud: missing, or not plain text; ask the platform for a token with an audience")
    require_machine(issuer, claims)
    platform = platform_of(issuer, claims, claims.get("sub"))
    chosen = _chosen(platform, issuer, claims)
    table = WorkloadSettings.model_validate(
        {"issuer": issuer, "audience": audiences, "claims": chosen, "account": ACCOUNT, "scopes": list(SCOPES)}
    )
    try:
        rule = WorkloadRule.from_settings(table, "workloads")
    except ConfigError as exc:
        raise InvalidToken(f"no rule can be made of it: {exc}") from None
    remarks = [f"# {remark}" for remark in widths_of(rule)]
    if len(audiences) > 1:
        remarks.append("# audience: keep the one that is this gateway's own")
    if offered := tuple(_offered(platform, claims)):
        remarks.append(f"# claims: to narrow the rule, add {', or '.join(offered[:_MAX_OFFERED])}")
    pairs = ", ".join(f"{written((name,))} = {_text(value)}" for name, value in chosen.items())
    return (
        *remarks,
        "[[workloads]]",
        f"issuer = {_text(issuer)}",
        f"audience = {_text(audiences[0]) if len(audiences) == 1 else json.dumps(audiences, ensure_ascii=False)}",
        f"claims = {{ {pairs} }}",
        f'account = "{ACCOUNT}"',
        f"scopes = {json.dumps(SCOPES)}",
    )


def _chosen(platform: Platform, issuer: str, claims: Mapping[str, Any]) -> dict[str, str | int]:
    names = [name for name in _STABLE[platform] if name in claims] or ["sub"]
    if platform == "github":
        names.append("environment" if claims.get("environment") else "ref")
        if stranger_in(issuer, claims, {}):
            names.append("event_name")
    if platform == "gitlab":
        names += ["environment"] if claims.get("environment") else ["ref"]
        names.append("ref_protected")
        if stranger_in(issuer, claims, {}):
            names.append("pipeline_source")
    return {name: _claim(claims, name) for name in names if name in claims}


def _claim(claims: Mapping[str, Any], name: str) -> str | int:
    value = claims[name]
    if isinstance(value, int):
        return value
    if not isinstance(value, str) or not is_plain(value) or "*" in value:
        raise InvalidToken(f"{name}: not plain text, or with an asterisk, which a rule takes for a wildcard")
    return value


def _offered(platform: Platform, claims: Mapping[str, Any]) -> Iterator[str]:
    """Yield more conditions that the token meets, as TOML writes them: on members of objects, and on lists."""
    if platform == "kubernetes":
        # A service account that is made anew has the subject of the one before it, and another uid.
        path = (KUBERNETES_CLAIM, "serviceaccount", "uid")
        uid = member(claims, path)
        if isinstance(uid, str) and _is_offered(uid):
            yield f"{written(path)}={_text(uid)}"
    elif platform in ("entra", ""):
        yield from _lists_in(claims, ())


def _lists_in(table: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    for name, value in table.items():
        if not is_plain(name) or (not above and name in _NO_GRANTS):
            continue
        if is_object(value):
            yield from _lists_in(value, (*above, name))
        elif is_list(value) and value and all(_is_offered(element) for element in value):
            yield f"{written((*above, name))}={json.dumps(value, ensure_ascii=False)}"


def _is_offered(value: object) -> bool:
    return isinstance(value, str) and is_plain(value) and "*" not in value


def _text(value: str | int) -> str:
    # Plain text has no control characters, so that JSON's text is TOML's.
    return json.dumps(value, ensure_ascii=False)
