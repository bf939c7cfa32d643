"""Finds passwords and tickets that a line sends to the API, and puts a token in their place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from compat_auth.cli.scripts.change import Change

VARIABLE = "AIRFLOW_TOKEN"
_CURL_USER = re.compile(r"""(?<!\S)(?:-u|--user)(?:\s+|=|(?=\S))("[^"]*"|'[^']*'|\S+)""")
_CURL_TICKET = re.compile(r"(?<!\S)--negotiate(?!\S)")
_PAIR = re.compile(
    r"""\bauth\s*=\s*(?:\(|(?:requests\.auth\.)?HTTPBasicAuth\(|httpx\.BasicAuth\()[^()]*(?:\([^()]*\)[^()]*)*\)"""
)
_TICKET = re.compile(r"\bauth\s*=\s*(?:HTTPKerberosAuth|HTTPSPNEGOAuth|HttpNegotiateAuth)\([^()]*\)")
_NAMED = re.compile(r"\bauth\s*=\s*(?!None\b)[A-Za-z_][\w.]*(?:\(\))?(?=\s*(?:[,)]|$))")
_MADE = re.compile(r"(?<!=)\b(?:HTTPBasicAuth|BasicAuth|HTTPKerberosAuth|HTTPSPNEGOAuth)\(")
_BASIC_HEADER = re.compile(r"(?i)\bAuthorization:\s*Basic\s+[^\"'\s]+(?:\([^)]*\))?")
_BASIC_ENTRY = re.compile(r"(?i)[\"']Authorization[\"']\s*[:=\]]+\s*(?:=\s*)?[fb]*[\"']Basic\b")
_CLIENT = re.compile(r"\b(?:username|password)\s*=\s*(?:\"[^\"]*\"|'[^']*'|[\w.\[\]\"'()]+)")
_ELSEWHERE = f"the login is made elsewhere: send Authorization: Bearer with a personal token from the variable {VARIABLE} in its place"
_HEADER = f'-H "Authorization: Bearer ${VARIABLE}"'
_PYTHON = f'headers={{"Authorization": f"Bearer {{os.environ[\'{VARIABLE}\']}}"}}'
_QUOTES = f"needs a personal token in the variable {VARIABLE}, and double quotes, in which the shell reads variables"
_NEEDS_OS = f"needs `import os`, and a personal token in the variable {VARIABLE}"


def old_logins(line: str) -> Iterator[Change]:
    """Yield a change for each old login in a line."""
    yield from _in_shell(line)
    yield from _in_python(line)


def _in_shell(line: str) -> Iterator[Change]:
    for header in _BASIC_HEADER.finditer(line):
        yield Change(header.start(), header.end(), f"Authorization: Bearer ${VARIABLE}", _QUOTES)
    ticket = _CURL_TICKET.search(line)
    user = _CURL_USER.search(line)
    # In a line that continues another one, only the option itself can be seen.
    continues = user is not None and ":" in user[1] and not line[: user.start()].strip()
    is_ours = user is not None and (continues or re.search(r"\bcurl\b", line) is not None)
    if ticket and not is_ours and re.search(r"\bcurl\b", line) is None and line[: ticket.start()].strip():
        return
    if ticket and user:
        yield Change(ticket.start(), ticket.end(), _HEADER)
        begin = user.start() - (line[user.start() - 1 : user.start()] == " ")
        yield Change(begin, user.end(), "")
    elif ticket:
        yield Change(ticket.start(), ticket.end(), _HEADER)
    elif user and is_ours:
        yield Change(user.start(), user.end(), _HEADER, f"needs a personal token in the variable {VARIABLE}")


def _in_python(line: str) -> Iterator[Change]:
    for pattern in (_PAIR, _TICKET):
        for match in pattern.finditer(line):
            if "headers=" in line or "headers =" in line:
                yield Change(
                    match.start(),
                    match.end(),
                    None,
                    "add Authorization: Bearer to the headers of this call, remove auth",
                )
            else:
                yield Change(match.start(), match.end(), _PYTHON, _NEEDS_OS)
    if not _PAIR.search(line) and not _TICKET.search(line):
        for pattern in (_NAMED, _MADE, _BASIC_ENTRY):
            for match in pattern.finditer(line):
                yield Change(match.start(), match.end(), None, _ELSEWHERE)
    if re.search(r"\bConfiguration\(", line) and _CLIENT.search(line):
        begin = next(iter(_CLIENT.finditer(line))).start()
        yield Change(
            begin,
            begin,
            None,
            "apache-airflow-client 3.x has no password: Configuration(host=…, access_token=…), and its classes are those of v2",
        )
