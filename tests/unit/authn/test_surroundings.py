"""What backends find around them while they answer."""

from __future__ import annotations

from typing import ClassVar

import flask
import pytest
from flask import Flask

from compat_auth.authn.surroundings import Surroundings
from compat_auth.facts import request_facts
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest

APP = Flask("surroundings")
REQUEST = GateRequest({"type": "http"}, take_in([(b"host", b"gateway.example")]), "GET", b"/", b"", "192.0.2.7")


class Ours:
    answers_without_flask: ClassVar[bool] = True


class Theirs:
    pass


def surroundings(*, with_facts: bool = True) -> Surroundings:
    facts = REQUEST.facts(APP, with_cookies=False) if with_facts else None
    return Surroundings(APP, facts, lambda: REQUEST.environ(with_cookies=False))


def test_no_request_context_is_made_for_what_needs_none() -> None:
    with surroundings() as around:
        around.provide_for(Ours())

        has_flask, client = flask.has_request_context(), request_facts().client

    assert (has_flask, client) == (False, "192.0.2.7")


def test_what_needs_flask_finds_it_from_then_on() -> None:
    with surroundings() as around:
        around.provide_for(Theirs())
        flask.g.user = "alice"
        around.provide_for(Ours())
        around.provide_for(Theirs())

        found = (flask.request.remote_addr, flask.g.user, type(request_facts()).__name__)

    assert found == ("192.0.2.7", "alice", "_FactsOfFlask")


def test_everybody_finds_flask_where_there_are_no_facts() -> None:
    with surroundings(with_facts=False):
        has_flask = flask.has_request_context()

    assert has_flask


@pytest.mark.parametrize("thing", [pytest.param(Ours(), id="ours"), pytest.param(Theirs(), id="theirs")])
def test_nothing_is_left_behind_after_an_error(thing: object) -> None:
    around = surroundings()

    def fail() -> None:
        with around:
            around.provide_for(thing)
            raise ValueError("of a backend")

    with pytest.raises(ValueError, match="of a backend"):
        fail()

    assert not flask.has_request_context()
    with pytest.raises(RuntimeError):
        _ = request_facts().client
