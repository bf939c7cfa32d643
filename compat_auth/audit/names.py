"""How a log shows a user name that nobody has verified: people type passwords and tokens there by mistake. No I/O."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

MASK = "(masked "
_KEY = secrets.token_bytes(32)
_MAX_LENGTH = 64
_MOST_BLANKS = 2  # "Anna Maria Example" is a name, four words are a pass phrase
# Letters, digits and the separators in names: mail addresses, principals, DOMAIN\\user, service accounts.
_NAME = re.compile(r"[^\W_](?:[\w.@\\/+'$ -]*[\w.$])?\Z")
# Prefixes of well-known tokens: JWT, GitHub, GitLab, Slack, AWS, Google, OpenAI, Stripe, Vault, PyPI, npm, Docker,
# Airflow and our own.
_TOKEN = re.compile(
    r"(?i)eyj|gh[opusr]_|github_pat|gl[a-z]{2,5}-|xox[a-z]-|akia|asia[0-9a-z]{16}|aiza|ya29|sk[-_]|[rp]k_(?:live|test)|"
    r"hv[sbr]\.|pypi-|npm_|dckr_pat|cat_pat|dapi[0-9a-f]|bearer |basic "
)
# A run without punctuation; in one this long, many changes between letters and digits cannot be a word.
_RUN = re.compile(r"[A-Za-z0-9]{12,}")
_CHANGE = re.compile(r"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LONG_RUN = 24
_MANY_CHANGES = 3


def shown_name(name: str) -> str:
    """Return a claimed user name as a log may show it: unchanged where it is plausible, else masked."""
    return name if not name or is_plausible(name) else masked(name)


def masked(name: str) -> str:
    """Return a mask in place of a text.

    The mask of a text stays the same until the process ends, so that repeated attempts are visible; it is keyed, so
    that nobody can guess the text from it.
    """
    mark = hmac.digest(_KEY, name.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()[:8]
    return f"{MASK}{mark})"


def is_plausible(name: str) -> bool:
    """Return whether a text can be a user name, and does not look like a password or a token."""
    if len(name) > _MAX_LENGTH or name.count(" ") > _MOST_BLANKS or not _NAME.match(name) or _TOKEN.match(name):
        return False
    return not any(_is_random(run) for run in _RUN.findall(name)) and not _is_password(name)


def _is_random(run: str) -> bool:
    changes = len(_CHANGE.findall(run)) + len(_HUMP.findall(run))
    return changes >= _MANY_CHANGES or (len(run) >= _LONG_RUN and (changes > 0 or run.isdigit()))


def _is_password(name: str) -> bool:
    # A lower-case letter, a capital, a digit, and a digit within the letters, in one word without "@" or a principal's
    # "/": what password rules demand, and what no directory uses as a name.
    kinds = (re.search(kind, name) is not None for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    return len(name) >= 8 and not set("@/\\").intersection(name) and all(kinds)
