"""Finds what looks like an old login in any language. It is never replaced: a person must look."""

from __future__ import annotations

import re
from collections.abc import Iterator

from compat_auth.cli.scripts.change import VARIABLE, Change
from compat_auth.cli.scripts.lines import Lines

_IN_ITS_PLACE = f"send Authorization: Bearer with a personal token from the variable {VARIABLE} in its place"
_ELSEWHERE = f"the login is made elsewhere: {_IN_ITS_PLACE}"
_OPTION = f"a login that goes to Airflow, as it seems: {_IN_ITS_PLACE}"
_CLIENT = (
    "apache-airflow-client 3.x has no password: Configuration(host=…, access_token=…), and its classes are those of v2"
)
_CONNECTION = "the login is in a connection of Airflow: a token belongs into its field Extra or into the headers"
# What a repetition may cover is limited, so that a long line is searched in linear time.
_MARKS = (
    (re.compile(r"""\bauth["']?\]?\s{0,40}(?::|=>|=(?!=))\s{0,40}(?!None\b|null\b|nil\b|\s)"""), _ELSEWHERE),
    (re.compile(r"""basic_?auth\w{0,40}["']?\s{0,9}(?:[(:]|=(?!=))""", re.IGNORECASE), _ELSEWHERE),
    (re.compile(r"(?:HTTPKerberos|HTTPSPNEGO|HttpNegotiate|HttpNtlm|HTTPGSSAPI|HTTPDigest|Digest)Auth\("), _ELSEWHERE),
    (re.compile(r"""\bauthorization\b[^\n]{0,60}?\b(?:basic|negotiate)\b""", re.IGNORECASE), _ELSEWHERE),
    (re.compile(r"""["'`](?:Basic|Negotiate)[ %"'`$]"""), _ELSEWHERE),
    (re.compile(r"https?://(?!/)[^\s/\"'@]{0,200}[^\s/\"'@]@[\w$<\[{%]"), _OPTION),
    (re.compile(r"""\bpass(?:word|wd)["']?\s{0,9}(?::|=>|=(?!=))""", re.IGNORECASE), _ELSEWHERE),
    (
        re.compile(
            r"""-(?:Proxy)?Credential\b|-UseDefaultCredentials\b|-Authentication\s{1,9}Basic|\burl_(?:username|password)\b"""
            r"""|USERPWD\b|\bNetworkCredential\b|\bPSCredential\b|\bUsernamePasswordCredentials\b|\bPasswordAuthentication\("""
            r"""|\badd_password\(|AuthenticationHeaderValue\(|\.netrc\b""",
            re.IGNORECASE,
        ),
        _ELSEWHERE,
    ),
    (re.compile(r"\bhttp_conn_id\b"), _CONNECTION),
)
# A command, and its options for a login. The options count after the command, in the same logical line.
_CURL_OPTION = re.compile(
    r"""(?<![\w-])(?:-[a-zA-Z#0-9]{0,30}[un](?![a-tv-z])|-u|--user\b|--netrc\b|--netrc-\w{1,9}|--negotiate\b"""
    r"""|--anyauth\b|--ntlm\b|--digest\b|--config\b)"""
)
_COMMANDS = (
    (re.compile(r"\bcurl\b"), _CURL_OPTION),
    (re.compile(r"\bwget\b"), re.compile(r"--(?:http-)?(?:user|password)\b|--use-askpass\b|--ask-password\b")),
    (re.compile(r"(?:\bhttps?|\bxhs?)(?=[ \"'])"), re.compile(r"(?<![\w-])(?:-[aA]|--auth(?:-type)?)(?![\w-])")),
)
# `-u name:password` for a command that is put together elsewhere; `-u 1000:1000` is a user of the system.
_PAIR = re.compile(
    r"""(?<![\w-])(?:-[a-zA-Z]{0,9}u[ =]?|--user[ =]|-u["'],\s{0,9})["']?(?!\d{1,9}:\d)[^\s"':]{0,200}:(?!//)"""
)
_OF_THE_SYSTEM = re.compile(r"\b(?:docker|podman|nerdctl|chown|chroot|setpriv|crun|runc)\b")
_CONFIGURATION = re.compile(r"\bConfiguration\(")
_FIELD = re.compile(r"\b(?:username|password)\s{0,9}=")


def marks_of(lines: Lines, read: frozenset[int], quiet: frozenset[int]) -> Iterator[Change]:
    """Yield a change without a text for each mark of a login.

    Args:
        lines: The script.
        read: Where the words begin that another reader has seen as those of curl.
        quiet: Where the words begin of commands that have nothing to do with curl.
    """
    text = lines.text
    for pattern, note in _MARKS:
        for match in pattern.finditer(text):
            yield Change(match.start(), match.end(), None, note)
    for begin, end in lines.joined:
        for match in _options(text, begin, end):
            is_of_curl = match.re is _CURL_OPTION
            if match.start() not in read and not (is_of_curl and match.start() in quiet):
                yield Change(match.start(), match.end(), None, _OPTION)
        found = _CONFIGURATION.search(text, begin, end)
        if found is not None and (field := _FIELD.search(text, found.end(), end)) is not None:
            yield Change(field.start(), field.end(), None, _CLIENT)


def _options(text: str, begin: int, end: int) -> Iterator[re.Match[str]]:
    for command, option in _COMMANDS:
        found = command.search(text, begin, end)
        if found is not None:
            yield from option.finditer(text, found.end(), end)
    pairs = list(_PAIR.finditer(text, begin, end))
    if pairs and not _OF_THE_SYSTEM.search(text, begin, end):
        yield from pairs
