"""Requests to a site of `support.peers.generated`, and what came back."""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt

from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.config import load_settings
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from support.peers.generated import Site, basic, seen_headers

NUMBERS = itertools.count()
HOST = "airflow.example"
ALICE = ("Authorization", basic("alice"))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found.lower() == name]

    @property
    def seen(self) -> Any:
        return json.loads(self.body)


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)


def ask_on(
    connection: http.client.HTTPConnection,
    target: str,
    *headers: tuple[str, str],
    method: str = "GET",
    body: bytes | None = None,
    host: str = HOST,
) -> Answer:
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host)
    for name, value in headers:
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    return Answer(answer.status, answer.getheaders(), answer.read())


def ask(url: str, target: str, *headers: tuple[str, str], **options: Any) -> Answer:
    with closing(connect(url)) as connection:
        return ask_on(connection, target, *headers, **options)


@contextmanager
def token_service(site: Site) -> Generator[PersonalTokens]:
    tokens = PersonalTokens.from_settings(
        load_settings(str(site.config)), RevocationEvents(), revoke_upstream=no_upstream
    )
    try:
        yield tokens
    finally:
        tokens.rows.database.close()


def new_token(site: Site, *scopes: str) -> tuple[str, str]:
    """Return the Authorization value and the id of a new personal token of alice."""
    with token_service(site) as tokens:
        made = tokens.create("alice", PersonalTokenRequest(f"token {next(NUMBERS)}", scopes or ("all",)), by="alice")
        return f"Bearer {made.text}", made.token.id


def subject(answer: Answer) -> str:
    token = seen_headers(answer.seen)["authorization"].removeprefix("Bearer ")
    return str(jwt.decode(token, options={"verify_signature": False})["sub"])
