"""Names for scopes that belong together, so that nobody has to spell Airflow's paths: `read`, `trigger`, `dags:ID`.

A bundle stands for paths of Airflow's API v2 and of v1, which is translated to it. What a name stands for does not
change: a token keeps what it was made with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from compat_auth.scopes import MAX_LENGTH, Scope, parse_scope

MAX_SCOPES = 50
_APIS = ("/api/v2", "/api/v1")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# "~" is Airflow's word for every DAG, dots are no names of one.
_DAG = re.compile(r"(?!~\Z)(?!\.{1,2}\Z)[\w.\-~]{1,250}\Z")


@lru_cache(maxsize=1024)
def parse_scopes(texts: tuple[str, ...]) -> tuple[Scope, ...]:
    """Return the scopes that texts spell, bundles by what they stand for, each once.

    Raises:
        ValueError: One is no scope, there are none or more than 50, or one is longer than 512 characters.
    """
    if not 0 < len(texts) <= MAX_SCOPES:
        raise ValueError(f"scopes: 1 to {MAX_SCOPES} of them")
    if any(len(text) > MAX_LENGTH for text in texts):
        raise ValueError(f"scopes: none longer than {MAX_LENGTH} characters")
    return tuple(dict.fromkeys(scope for text in texts for scope in _expand(text)))


def _expand(text: str) -> Iterable[Scope]:
    if text == "read":
        return (parse_scope("GET /"),)
    if text == "trigger":
        return _below("{dag_id}", (("POST", "/dagRuns"), ("GET", "/dagRuns/{dag_run_id}")))
    if text.startswith("dags:"):
        dag = text.removeprefix("dags:")
        if not _DAG.match(dag):
            raise ValueError(f"scope {text!r}: no DAG's id; write dags:ID, such as dags:daily_report")
        return _below(quote(dag, safe="~"), ((method, rest) for rest in ("", "/") for method in _METHODS))
    return (parse_scope(text),)


def _below(dag: str, requests: Iterable[tuple[str, str]]) -> tuple[Scope, ...]:
    pairs = tuple(requests)
    return tuple(parse_scope(f"{method} {api}/dags/{dag}{rest}") for api in _APIS for method, rest in pairs)
