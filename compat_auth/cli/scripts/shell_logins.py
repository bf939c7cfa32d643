"""Finds the logins of curl in a shell script, and puts a token in their place where it is certain who gets it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from compat_auth.cli.scripts.change import NEEDS_TOKEN, VARIABLE, Change
from compat_auth.cli.scripts.old_paths import Address, between
from compat_auth.cli.scripts.shell_words import Command

_HEADER = f'-H "Authorization: Bearer ${VARIABLE}"'
_FIRST = re.compile(r"(?:.*/)?curl")
_BEFORE = re.compile(r"\w+\+?=.*|if|then|do|else|elif|while|until|!|\{|time|exec|command", re.DOTALL)
# curl(1). The options without a value, as far as they can stand beside a login; each other one leaves a doubt.
_FLAGS = frozenset("#0123460afgGiIjJklLNOpqRsSvZ")
_WITH_VALUE = frozenset("AbcCdDeHFmoPQrtTuUwxXyYzE")
_LONG_FLAGS = frozenset(
    [
        "anyauth",
        "basic",
        "compressed",
        "digest",
        "fail",
        "fail-early",
        "fail-with-body",
        "get",
        "globoff",
        "head",
        "http1.0",
        "http1.1",
        "http2",
        "include",
        "insecure",
        "ipv4",
        "ipv6",
        "location",
        "negotiate",
        "no-buffer",
        "no-keepalive",
        "no-progress-meter",
        "ntlm",
        "progress-bar",
        "raw",
        "remote-name",
        "remote-header-name",
        "retry-all-errors",
        "retry-connrefused",
        "show-error",
        "silent",
        "ssl-reqd",
        "tcp-nodelay",
        "tlsv1",
        "tlsv1.2",
        "tlsv1.3",
        "verbose",
    ]
)
_LONG_WITH_VALUE = frozenset(
    [
        "cacert",
        "capath",
        "cert",
        "connect-timeout",
        "cookie",
        "cookie-jar",
        "data",
        "data-ascii",
        "data-binary",
        "data-raw",
        "data-urlencode",
        "dump-header",
        "form",
        "header",
        "interface",
        "json",
        "key",
        "limit-rate",
        "max-redirs",
        "max-time",
        "noproxy",
        "output",
        "request",
        "resolve",
        "retry",
        "retry-delay",
        "retry-max-time",
        "stderr",
        "trace",
        "user",
        "user-agent",
        "write-out",
    ]
)
_TICKETS = frozenset(("negotiate", "ntlm", "digest", "anyauth", "basic"))
_AUTHORIZATION = re.compile(r"[\"']?\s*(?:proxy-)?authorization\s*:\s*(\w*)", re.IGNORECASE)
_HOST = re.compile(r"""["']?(?:https?://)?[^?#@,\[\s"'`]+["']?""")
_ELSEWHERE = (
    "curl sends this login to an address that is not certainly Airflow's: if it is, send a personal token in its place"
)
_OTHER_WAY = (
    f"a login of curl that a person must replace by Authorization: Bearer with a personal token from {VARIABLE}"
)


@dataclass(slots=True)
class _Call:
    """The words of one curl.

    Attributes:
        logins: Where each old login stands, with its option, and whether more flags stand before it in the same word.
        addresses: The words that are addresses.
        is_clear: Whether every option is known, so that each word is what it seems.
        other: Where a login stands that has no simple replacement.
    """

    logins: list[tuple[int, int, bool]] = field(default_factory=list[tuple[int, int, bool]])
    addresses: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    is_clear: bool = True
    other: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


def curls_of(text: str, commands: list[Command]) -> list[list[tuple[int, int]]]:
    """Return the arguments of each curl: where their words begin and end."""
    found: list[list[tuple[int, int]]] = []
    for command in commands:
        words = list(command.words)
        while words and _BEFORE.fullmatch(text[slice(*words[0])]):
            words.pop(0)
        if words and _FIRST.fullmatch(text[slice(*words[0])]):
            found.append(words[1:])
    return found


def shell_logins(text: str, curls: list[list[tuple[int, int]]], addresses: list[Address]) -> Iterator[Change]:
    """Yield a change for each login of each curl."""
    for words in curls:
        yield from _changes(text, _read(text, words), addresses)


def _changes(text: str, call: _Call, addresses: list[Address]) -> Iterator[Change]:
    for begin, end in call.other:
        yield Change(begin, end, None, _OTHER_WAY)
    if not call.logins:
        return
    whole_in_a_line = all("\n" not in text[begin:end] for begin, end, _ in call.logins)
    if call.other or not whole_in_a_line or not call.is_clear or not _goes_to_airflow(text, call, addresses):
        note = _OTHER_WAY if call.other or not whole_in_a_line else _ELSEWHERE
        for begin, end, _ in call.logins:
            yield Change(begin, end, None, note)
        return
    for number, (begin, end, in_cluster) in enumerate(call.logins):
        if number == 0:
            yield Change(begin, end, f"{' ' if in_cluster else ''}{_HEADER}", NEEDS_TOKEN)
        else:
            has_space = not in_cluster and text[begin - 1] in " \t"
            yield Change(begin - has_space, end, "")


def _goes_to_airflow(text: str, call: _Call, addresses: list[Address]) -> bool:
    if len(call.addresses) != 1:
        return False
    begin, end = call.addresses[0]
    inside = between(addresses, begin, end)
    if len(inside) != 1 or not inside[0].is_airflow or "://" in text[inside[0].change.end : end]:
        return False
    before = text[begin : inside[0].change.begin]
    return before.count("://") < 2 and (before in ("", '"', "'") or _HOST.fullmatch(before) is not None)


def _read(text: str, words: list[tuple[int, int]]) -> _Call:
    call, position = _Call(), 0
    while position < len(words):
        begin, end = words[position]
        word = text[begin:end]
        value = words[position + 1] if position + 1 < len(words) else None
        position += 1
        if word.startswith("--"):
            name = word[2:]
            position += _long(text, call, name, (begin, end), value)
        elif word.startswith("-") and len(word) > 1:
            position += _short(text, call, (begin, end), value)
        elif word[:2] in ('"-', "'-"):
            call.is_clear = False
        else:
            call.addresses.append((begin, end))
    return call


def _long(text: str, call: _Call, name: str, word: tuple[int, int], value: tuple[int, int] | None) -> int:
    """Read a long option, and return how many words its value takes."""
    begin, end = word
    if name in _TICKETS:
        call.logins.append((begin, end, False))
    elif name.startswith("netrc") or name == "config":
        call.other.append(word)
        return 0 if name in ("netrc", "netrc-optional") else 1
    elif name == "url" and value is not None:
        call.addresses.append(value)
        return 1
    elif name in _LONG_WITH_VALUE and value is not None:
        if name == "user":
            call.logins.append((begin, value[1], False))
        elif name == "header":
            _header(text, call, begin, value, in_cluster=False)
        return 1
    elif name.startswith(("user=", "header=")):
        call.other.append(word)
    elif name not in _LONG_FLAGS:
        call.is_clear = False
    return 0


def _short(text: str, call: _Call, word: tuple[int, int], value: tuple[int, int] | None) -> int:
    """Read short options that share their hyphen, and return how many words their value takes."""
    begin, end = word
    for position in range(begin + 1, end):
        letter = text[position]
        if letter == "n":
            call.other.append(word)
        elif letter == "K":
            call.other.append(word)
            return position + 1 == end
        elif letter in _WITH_VALUE:
            takes = position + 1 == end
            one = (position + 1, end) if not takes else value
            in_cluster = position > begin + 1
            if one is not None and letter == "u":
                call.logins.append((position if in_cluster else begin, one[1], in_cluster))
            elif one is not None and letter == "H":
                _header(text, call, position if in_cluster else begin, one, in_cluster=in_cluster)
            elif letter == "x":
                call.is_clear = False
            return takes
        elif letter not in _FLAGS:
            call.is_clear = False
    return 0


def _header(text: str, call: _Call, begin: int, value: tuple[int, int], *, in_cluster: bool) -> None:
    found = _AUTHORIZATION.match(text, *value)
    if found is None:
        call.is_clear = call.is_clear and text[slice(*value)].lstrip("\"'")[:1] not in ("$", "@", "`")
    elif found[1].lower() in ("basic", "negotiate"):
        call.logins.append((begin, value[1], in_cluster))
    elif call.logins or found[1].lower() != "bearer":
        call.other.append((begin, value[1]))
    else:
        # A token is there already; a login beside it would be a second header.
        call.is_clear = False
