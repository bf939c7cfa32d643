"""The page of extension points: each example is short, and does what the page says."""

from __future__ import annotations

import importlib
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from compat_auth.airflow2 import LegacyBackend
from compat_auth.authn.registry import GROUP as BACKENDS
from compat_auth.authn.registry import load_chain
from compat_auth.authn.users import directories
from compat_auth.backend import Accept, Basic, Bearer, Identity, Outcome, Skip
from compat_auth.client.for_requests import RequestsAuth
from compat_auth.client.origin import Origin
from compat_auth.config import parse_settings
from compat_auth.scopes import Scope
from compat_auth.users import UserLookup, load_directories

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "extension-points.md"
_EXAMPLE = re.compile(r"^## (?P<title>.+)\n(?:(?!^## ).*\n)*?```python\n(?P<code>(?:.*\n)*?)```", re.MULTILINE)
EXAMPLES = {match["title"]: match["code"] for match in _EXAMPLE.finditer(PAGE.read_text(encoding="utf-8"))}
SETTINGS: dict[str, Any] = {"upstream": {"url": "http://127.0.0.1:9"}}


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that imports the example below a heading of the page, as a module of that name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def import_example(title: str, name: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(EXAMPLES[title], encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    return import_example


def test_each_example_fits_on_a_few_lines() -> None:
    lengths = {title: len([line for line in code.splitlines() if line]) for title, code in EXAMPLES.items()}

    assert sorted(lengths) == ["Airflow 2 module", "Backend", "Client credential", "Directory", "Token handler"]
    assert {title: length for title, length in lengths.items() if not 5 <= length <= 10} == {}


def test_the_page_names_the_groups_of_entry_points_that_are_read() -> None:
    text = PAGE.read_text(encoding="utf-8")

    named = set(re.findall(r"^(compat_auth\.\w+) =$", text, re.MULTILINE))

    assert named == {BACKENDS, directories.GROUP}


def test_the_example_of_a_backend_accepts_its_token_and_skips_any_other(example: Any) -> None:
    example("Backend", "staff_backend_example")
    settings = parse_settings({**SETTINGS, "auth_backends": ["staff_backend_example.StaffBackend"]}, origin="docs")
    (backend,) = load_chain(settings)

    outcomes: list[Outcome] = [backend.authenticate(Bearer(token)) for token in ("staff-0123456789", "staff-x")]

    assert isinstance(outcomes[0], Accept)
    assert outcomes[0].identity.username == "alice"
    assert outcomes[1] == Skip()


def test_the_example_of_an_airflow_2_module_lets_the_ticket_in_alone(example: Any) -> None:
    module = example("Airflow 2 module", "ticket_example")
    backend = LegacyBackend(module, "ticket_example")
    app = Flask("docs")
    backend.init_app(app)

    def view() -> str:
        return "in"

    guarded = backend.requires_authentication(view)
    answers: list[int] = []
    for headers in ({"Acme-Ticket": "ticket-of-alice"}, {"Acme-Ticket": "another"}, {}):
        with app.test_request_context(headers=headers):
            answers.append(app.make_response(guarded()).status_code)

    assert answers == [200, 401, 401]


def test_the_example_of_a_directory_is_found_by_its_entry_point(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    example("Directory", "staff_directory_example")
    point = EntryPoint("staff", "staff_directory_example:StaffDirectory", directories.GROUP)
    monkeypatch.setattr(directories, "entry_points", lambda **_: (point,))
    settings = parse_settings({**SETTINGS, "lookup": {"directories": ["staff"]}}, origin="docs")

    found = load_directories(["staff"], settings, key="lookup.directories")
    completed = UserLookup.from_settings(settings).complete(Identity("alice", "kerberos"))

    assert [directory.name for directory in found] == ["staff"]
    assert (completed.directory, completed.roles) == ("staff", ("Viewer",))


def test_the_example_of_a_token_handler_names_the_owner_and_the_scope(example: Any) -> None:
    example("Token handler", "token_handler_example")
    handler = {"handler": "token_handler_example:find_session"}
    settings = parse_settings({**SETTINGS, "auth_backends": ["token_handler"], "token_handler": handler}, origin="docs")
    (backend,) = load_chain(settings)

    known, unknown = (backend.authenticate(Bearer(token)) for token in ("site-0123456789", "site-x"))

    assert isinstance(known, Accept)
    assert known.identity.username == "alice"
    assert known.identity.scopes == (Scope("GET", "/api/v2/dags"),)
    assert unknown == Skip()
    assert backend.authenticate(Basic("alice", "site-0123456789")) == Skip()


def test_the_example_of_a_client_credential_is_one_that_clients_take(example: Any) -> None:
    credential = example("Client credential", "vault_example").FromVault()

    presented = credential.present(Origin("https", "airflow.example.com", 443))
    auth = RequestsAuth("https://airflow.example.com", credential)

    assert dict(presented.headers) == {"Authorization": "Bearer site-0123456789"}
    assert isinstance(auth, RequestsAuth)
