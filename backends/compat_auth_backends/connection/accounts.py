"""Which certificate acts as which account, as `[[client_certificate.accounts]]` says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from compat_auth.client_certificates import Names
from compat_auth.config import CertificateAccountSettings
from compat_auth.errors import ConfigError, InvalidToken
from compat_auth.scopes import Scope, parse_scopes

# What one `*` may stand for: never what ends a value, a label, an address or a segment.
_ANY = {"subject": r"[^,+=\\\"<>;]+", "dns": r"[a-z0-9_-]+", "email": r"[^@\s]+", "uri": r"[^/:?#@\s]+"}
_MANY = r"[^:?#@\s]+"
_ACCOUNT = "{1}"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,254}")


@dataclass(frozen=True, slots=True)
class _Rule:
    patterns: tuple[tuple[str, re.Pattern[str]], ...]
    user: str
    scopes: tuple[Scope, ...] | None


class Accounts:
    """The rules, in their order.

    Args:
        tables: Of the settings.

    Raises:
        ConfigError: There is none, or one would match anybody, or cannot name an account.
    """

    def __init__(self, tables: Sequence[CertificateAccountSettings]) -> None:
        if not tables:
            raise ConfigError(
                "client_certificate.accounts: empty, so nobody could come in; add a table such as "
                '[[client_certificate.accounts]] subject = "CN=etl,O=Example", user = "etl"'
            )
        self._rules = tuple(_rule(table, f"client_certificate.accounts[{at}]") for at, table in enumerate(tables))

    def find(self, names: Names) -> tuple[str, tuple[Scope, ...] | None]:
        """Return the account of a certificate, and its scopes; None where they are not limited.

        Raises:
            InvalidToken: No rule matches, or rules name two accounts.
        """
        found = [(user, rule.scopes) for rule in self._rules for user in _users(rule, names)]
        if not found:
            raise InvalidToken(
                f"no rule of client_certificate.accounts matches {names.subject or 'an empty subject'!r}"
            )
        if len({user for user, _ in found}) > 1:
            raise InvalidToken("client_certificate.accounts: rules name two accounts for one certificate")
        return found[0]


def _users(rule: _Rule, names: Names) -> set[str]:
    matches = [_matches(pattern, _values(kind, names)) for kind, pattern in rule.patterns]
    if not all(matches):
        return set()
    if _ACCOUNT not in rule.user:
        return {rule.user}
    users = {rule.user.replace(_ACCOUNT, match[1]) for match in matches[0]}
    return {user for user in users if _NAME.fullmatch(user)}


def _matches(pattern: re.Pattern[str], values: Sequence[str]) -> list[re.Match[str]]:
    return [match for value in values if (match := pattern.fullmatch(value))]


def _values(kind: str, names: Names) -> Sequence[str]:
    if kind == "subject":
        return (names.subject,)
    return {"dns": names.dns, "email": names.email, "uri": names.uri}[kind]


def _rule(table: CertificateAccountSettings, where: str) -> _Rule:
    written = {"subject": table.subject, "dns": table.dns.lower(), "email": table.email, "uri": table.uri}
    patterns = tuple((kind, _pattern(kind, text, where)) for kind, text in written.items() if text)
    if not patterns:
        raise ConfigError(f"{where}: matches every certificate; set subject, dns, email or uri")
    if _ACCOUNT in table.user and patterns[0][1].groups == 0:
        raise ConfigError(
            f"{where}.user: {_ACCOUNT} needs a '*' in {patterns[0][0]}; add one, or write the account's name"
        )
    if "{" in table.user.replace(_ACCOUNT, ""):
        raise ConfigError(f"{where}.user: only {_ACCOUNT} is filled in; write the account's name")
    try:
        scopes = parse_scopes(tuple(table.scopes)) if table.scopes else None
    except ValueError as exc:
        raise ConfigError(f"{where}.scopes: {exc}") from None
    return _Rule(patterns, table.user, scopes)


def _pattern(kind: str, text: str, where: str) -> re.Pattern[str]:
    fixed = text.replace("*", "")
    least = {"subject": "=", "dns": ".", "email": "@", "uri": "://"}[kind]
    matches_all = f"{where}.{kind}: {text!r} matches every certificate of the authority; write more of the name"
    if not any(character.isalnum() for character in fixed):
        raise ConfigError(matches_all)
    if least not in fixed:
        raise ConfigError(
            f"{where}.{kind}: {text!r}: no {least!r} in it; write the whole name, such as {_example(kind)}"
        )
    if kind == "subject" and not _has_fixed_value(text):
        raise ConfigError(matches_all)
    if "**" in text and kind != "uri":
        raise ConfigError(f"{where}.{kind}: {text!r}: '**' is only for uri; write '*'")
    if kind == "uri" and "*" in text.partition("://")[2].partition("/")[0]:
        raise ConfigError(f"{where}.uri: {text!r}: the trust domain must be written in full")
    parts = (re.escape(part) for part in re.split(r"(\*\*?)", text))
    regex = "".join(f"({_MANY})" if part == r"\*\*" else f"({_ANY[kind]})" if part == r"\*" else part for part in parts)
    return re.compile(regex)


def _has_fixed_value(subject: str) -> bool:
    """Return whether one of the values is written in full, or in part."""
    return any(value and value != "*" for value in (part.partition("=")[2] for part in subject.split(",")))


def _example(kind: str) -> str:
    return {
        "subject": "CN=etl,O=Example",
        "dns": "etl.example.org",
        "email": "*@example.org",
        "uri": "spiffe://example.org/ns/etl/sa/airflow",
    }[kind]
