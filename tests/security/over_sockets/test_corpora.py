"""The published corpora and their runner against our gateway: nothing is let through, fails or hangs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from corpora.cases import load, published_keys
from corpora.echo import running_echo
from corpora.jose import public_jwks
from corpora.judge import UNCHANGED
from corpora.run import main
from support.compat.matrix_checks import make_database
from support.security.gateway import Gateway, running_gateway, write_config
from support.security.upstream import Recorder
from support.stub_issuer import Answer, running_issuer

SECRET = "s" * 40
USERS = ["--user", "alice:wonder:land", "--other", "user1:secret1", "--who", "alice", "--host", "gateway"]
# What lawful issuers write: fractions of a second, a clock that differs by half a minute, a media type in any case, and no `kid`
# beside one key.
AS_THE_ISSUER_MAY = ["exp-float", "iat-future", "nbf-future", "typ-lower-case", "kid-missing"]


class Under:
    """A gateway before an echo."""

    def __init__(self, gateway: Gateway, echo_url: str) -> None:
        self._arguments = ["--base-url", f"http://127.0.0.1:{gateway.port}", "--echo-url", echo_url, "--json"]

    def run(self, *arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, Mapping[str, Any]]:
        """Return the exit code and the document of a run."""
        code = main([*self._arguments, *arguments])
        return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as stack:
        _, echo_url = stack.enter_context(running_echo())

        def started(extra: str, backends: str, directory: str = "htpasswd") -> Under:
            lines = f'database_url = "sqlite:///{tmp_path}/store.db"\n{extra}'
            config = write_config(tmp_path, echo_url, lines, backends)
            config.write_text(config.read_text().replace('["htpasswd"]', f'["{directory}"]'))
            environ = {"COMPAT_AUTH_SESSION__SECRET": SECRET}
            return Under(stack.enter_context(running_gateway(config, Recorder(), environ=environ)), echo_url)

        yield started


def failed(document: Mapping[str, Any]) -> list[str]:
    fine = ("refused", "passed")
    return [f"{one['id']}: {one['detail']}" for one in document["verdicts"] if one["verdict"] not in fine]


def test_no_case_of_framing_headers_paths_and_redirects_gets_through(
    start: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = start("", '["session", "basic_auth"]')

    code, document = gateway.run(*USERS, "--login", "/compat-auth/login", "--strict", capsys=capsys)

    assert failed(document) == []
    assert code == 0
    assert sum(document["summary"]["redirects"].values()) == len(load("redirects")["cases"])
    assert document["summary"]["headers"]["passed"] > 200


def test_what_applications_send_arrives_but_for_what_is_for_one_connection(
    start: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = start("", '["basic_auth"]')

    _, document = gateway.run(*USERS, "--corpus", "headers", capsys=capsys)

    lost = [one["detail"] for one in document["verdicts"] if one["detail"].startswith("did not arrive")]
    assert lost == [f"did not arrive: {name}" for name in ("expect", "keep-alive", "trailer")]


def test_no_token_of_the_corpus_gets_through_but_the_good_one(start: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with running_issuer() as issuer:
        issuer.says["/jwks"] = Answer(public_jwks(published_keys()).encode())
        table = f"""
[[oidc.issuers]]
issuer = "https://us.example"
audience = ["api"]
types = ["JWT"]
max_lifetime_s = 3600
jwks_url = "{issuer.url}/jwks"
"""
        gateway = start(table, '["oidc"]')

        code, document = gateway.run(
            *USERS, "--corpus", "jwt", "--issuer", "https://us.example", "--upstream-judges", capsys=capsys
        )

    believed = [one for one in document["verdicts"] if one["verdict"] != "refused" and one["detail"] != UNCHANGED]
    assert [one["id"] for one in believed] == ["good", *AS_THE_ISSUER_MAY]
    assert code == 0


@pytest.mark.parametrize("column", ["basic", "session(core first),basic"])
def test_a_gateway_in_the_mode_of_airflow_2_lets_in_nobody_whom_airflow_2_refuses(
    start: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    make_database(tmp_path / "airflow.db")
    backends = json.dumps(load("legacy")["columns"][column])
    gateway = start(f'mode = "airflow2"\n[airflow_db]\nurl = "sqlite:///{tmp_path}/airflow.db"', backends, "airflow_db")

    code, document = gateway.run(
        *("--user", "admin:admin", "--who", ""), *("--corpus", "legacy"), *("--column", column), capsys=capsys
    )

    assert code == 0
    assert document["summary"]["legacy"]["passed"] >= 5
