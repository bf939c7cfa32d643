"""One reading of a path, on the wire: what the upstream gets, and a fence without a gap."""

from __future__ import annotations

from typing import TypedDict, cast

import pytest

from corpora.cases import cases, load
from support.security.gateway import Gateway, basic


class Case(TypedDict):
    path: str
    canonical: str | None
    why: str


CORPUS = cast("list[Case]", cases("paths"))
ACCEPTED = [(case["path"].encode("latin-1"), case["canonical"]) for case in CORPUS if case["canonical"] is not None]
IDS = [path.decode("latin-1")[:40] for path, _ in ACCEPTED]


@pytest.mark.parametrize(("path", "canonical"), ACCEPTED, ids=IDS)
def test_the_canonical_path_is_what_the_upstream_gets(gateway: Gateway, path: bytes, canonical: str) -> None:
    answer = gateway.ask(path.decode("latin-1"), (b"Authorization", basic()))

    targets = [arrived.target.decode() for arrived in gateway.upstream.take()]
    # uvicorn refuses raw bytes above ASCII before we can mend them.
    assert (answer.status, targets) == ((200, [canonical]) if path.isascii() else (400, []))


@pytest.mark.parametrize("target", load("paths")["fence"])
def test_without_credentials_no_spelling_of_a_protected_path_reaches_the_upstream(
    gateway: Gateway, target: str
) -> None:
    answer = gateway.ask(target)

    assert answer.status in {308, 400, 401}
    assert gateway.upstream.take() == []
