"""Which challenges of a 401 a client gets: a browser answers some with a password dialog of its own. No I/O, no Flask.

The dialog lies over the page whose script has asked, the page waits for it, and a password that is typed there cannot be
logged out. Programs need the challenges: many send a credential only after they have seen one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Caller = Literal["program", "page", "script"]
"""A program; a browser that opens a page; or what a page in a browser loads by itself, by script or not."""

# W3C Fetch Metadata: page scripts cannot set or remove these headers.
_METADATA = frozenset((b"sec-fetch-mode", b"sec-fetch-site", b"sec-fetch-dest"))
# Browsers send no Fetch Metadata over plain HTTP, except to localhost. PowerShell, WinHTTP and crawlers begin with
# "Mozilla/", too, and name no engine.
_ENGINE = re.compile(rb"Mozilla/[45]\.0 \(.*(?:AppleWebKit/|Gecko/|Trident/)", re.DOTALL)
# RFC 7617, 7616, 4559, 7486, 7804, 8120, and Microsoft's. Browsers ignore schemes that they do not know.
_DIALOGS = r"(?:basic|digest|negotiate|ntlm|kerberos|nego2|hoba|mutual|scram-[a-z0-9-]+)"
# At the start, or behind the comma with which servers join two challenges (RFC 9110 11.6.1).
_OPENS_DIALOG = re.compile(rf"(?:^|,)[ \t]*{_DIALOGS}(?![^ \t,])", re.IGNORECASE)
# The next leg of a handshake that the browser has begun (RFC 4559 section 4.1).
_NEXT_LEG = re.compile(r"(?:negotiate|ntlm) +[A-Za-z0-9+/]+=*\Z", re.IGNORECASE)
_BY_TICKET = re.compile(r"negotiate[ \t]*\Z", re.IGNORECASE)
# RFC 9110 15.5.2: a 401 has a challenge. Browsers ignore this one, and tokens are what the API takes.
_WITHOUT_DIALOG = "Bearer"


def caller_of(headers: Iterable[tuple[bytes, bytes]]) -> Caller:
    """Return what sent a request with these headers.

    Args:
        headers: Names in lower case. `Accept` alone proves nothing: programs ask for `text/html`, too.
    """
    found = {name: value for name, value in headers if name in _ASKED}
    if not _METADATA.isdisjoint(found):
        return "page" if found.get(b"sec-fetch-mode") == b"navigate" else "script"
    if found.get(b"x-requested-with", b"").lower() == b"xmlhttprequest":
        return "script"
    if b"accept-language" in found and _ENGINE.match(found.get(b"user-agent", b"")):
        return "page" if b"text/html" in found.get(b"accept", b"").lower() else "script"
    return "program"


_ASKED = _METADATA | {b"x-requested-with", b"user-agent", b"accept", b"accept-language"}


def challenges_for(caller: Caller, challenges: tuple[str, ...]) -> tuple[str, ...]:
    """Return the challenges of a 401 that this caller may see; a 401 that had any keeps one.

    A page that a user opens may answer `Negotiate`, with which a browser logs in by ticket where its administrator has
    allowed that. What a page loads gets no challenge that a browser answers.
    """
    if caller == "program" or not challenges:
        return challenges
    shown = tuple(challenge for challenge in challenges if _is_quiet(caller, challenge))
    return shown or (_WITHOUT_DIALOG,)


def _is_quiet(caller: Caller, challenge: str) -> bool:
    if _NEXT_LEG.match(challenge) or (caller == "page" and _BY_TICKET.match(challenge)):
        return True
    return _OPENS_DIALOG.search(challenge) is None
