"""personal_token, held to what every backend must do, and to what only it must do."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Generator
from pathlib import Path

import flask
import pytest

from compat_auth.authn.chain import Chain
from compat_auth.authn.passwords.htpasswd import add_user, disable_user
from compat_auth.authn.registry import load_chain
from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.backend import Backend
from compat_auth.config import Settings, parse_settings
from compat_auth.credentials import Basic, Bearer
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.errors import ConfigError
from compat_auth.extension import CompatAuth
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.personal_tokens.peppers import Peppers
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.personal_token import PersonalTokenBackend

HASH = "$2b$04$" + "a" * 53


def settings_in(folder: Path, **more: object) -> Settings:
    content = {
        "auth_backends": ["personal_token"],
        "database_url": f"sqlite:///{folder / 'store.db'}",
        "upstream": {"profile": "generic"},
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(folder / "users")},
        **more,
    }
    return parse_settings(content, origin="test")


def bearer(text: str) -> Headers:
    return {"Authorization": f"Bearer {text}"}


def basic(username: str, text: str) -> Headers:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{text}".encode()).decode("ascii")}


class TestPersonalToken(BackendContract, has_source=True, counts_work=True):
    @pytest.fixture(autouse=True)
    def world(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        for name in ("alice", "disabled", "deleted"):
            add_user(tmp_path / "users", name, HASH)
        # Of another process: what it has read of the users half a second ago, ours has not.
        service = PersonalTokens.from_settings(settings_in(tmp_path), RevocationEvents(), revoke_upstream=no_upstream)
        self.settings = settings_in(tmp_path)
        self.texts = {
            name: service.create(name, PersonalTokenRequest("etl"), by="test").text
            for name in ("alice", "disabled", "deleted")
        }
        revoked = service.create("alice", PersonalTokenRequest("revoked"), by="test")
        service.revoke(revoked.token)
        self.texts["revoked"] = revoked.text
        service.rows.database.close()
        disable_user(tmp_path / "users", "disabled")
        users = tmp_path / "users"
        kept = [line for line in users.read_text().splitlines() if not line.startswith("deleted:")]
        users.write_text("\n".join(kept) + "\n")

    @pytest.fixture
    def backend(self) -> Backend:
        return PersonalTokenBackend.from_settings(self.settings)

    def good(self) -> Headers:
        return bearer(self.texts["alice"])

    def bad(self) -> dict[str, Headers]:
        right = self.texts["alice"]
        return {
            "wrong secret": bearer(make_text(right[8:20]).value),
            "unknown id": bearer(make_text().value),
            "disabled owner": bearer(self.texts["disabled"]),
            "deleted owner": bearer(self.texts["deleted"]),
            "revoked": bearer(self.texts["revoked"]),
            "another's name": basic("disabled", right),
        }

    def count_work(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        work: list[str] = []
        real = Peppers.digest

        def digest(peppers: Peppers, pepper_id: str, text: str) -> bytes:
            work.append("digest")
            return real(peppers, pepper_id, text)

        monkeypatch.setattr(Peppers, "digest", digest)
        return work

    @contextlib.contextmanager
    def break_source(self) -> Generator[None]:
        for suffix in ("", "-wal", "-shm"):
            path = self.folder / f"store.db{suffix}"
            if path.exists():
                path.rename(self.folder / f"away{suffix}")
        (self.folder / "store.db").mkdir()
        yield
        (self.folder / "store.db").rmdir()
        for path in self.folder.glob("away*"):
            path.rename(self.folder / path.name.replace("away", "store.db"))

    @pytest.mark.parametrize("username", ["alice", "__token__"])
    def test_a_token_is_taken_as_a_password(self, backend: Backend, app: flask.Flask, username: str) -> None:
        outcome = self.ask(backend, app, basic(username, self.texts["alice"]))

        assert isinstance(outcome, Accept)
        assert outcome.identity.username == "alice"

    @pytest.mark.parametrize("username", ["Alice", "alice ", "root", "__TOKEN__"])
    def test_a_token_is_no_password_of_anybody_else(self, backend: Backend, app: flask.Flask, username: str) -> None:
        outcome = self.ask(backend, app, basic(username, self.texts["alice"]))

        assert isinstance(outcome, Reject)

    def test_what_is_not_prefixed_is_not_its_business(self, backend: Backend, app: flask.Flask) -> None:
        credentials = ("cat_pa", "x-cat_pat_", "eyJhbGciOiJub25lIn0.e30.", "personal_token_x")

        with app.test_request_context():
            outcomes = [backend.authenticate(Bearer(text)) for text in credentials]
            outcomes += [backend.authenticate(Basic("alice", text)) for text in credentials]

        assert outcomes == [Skip()] * 8

    def test_a_refused_token_is_told_to_be_one(self, backend: Backend, app: flask.Flask) -> None:
        outcome = self.ask(backend, app, bearer(make_text().value))

        assert isinstance(outcome, Reject)
        assert outcome.challenges == ('Bearer realm="Airflow", error="invalid_token"',)

    def test_the_reason_holds_no_secret(self, backend: Backend, app: flask.Flask) -> None:
        for name, headers in self.bad().items():
            outcome = self.ask(backend, app, headers)

            assert isinstance(outcome, Reject), name
            assert self.texts["alice"][20:] not in outcome.reason, name


class Greedy(Backend):
    """Lets in whoever presents anything: what must never be asked about a personal token."""

    name = "greedy"
    kinds = frozenset({Basic, Bearer})

    def authenticate(self, credential: object) -> Outcome:
        return Accept(Identity("root", "greedy"))


@pytest.mark.parametrize("mode", ["strict", "airflow2"])
@pytest.mark.parametrize("is_last", [True, False])
def test_a_personal_token_never_reaches_another_backend(tmp_path: Path, mode: str, is_last: bool) -> None:
    add_user(tmp_path / "users", "alice", HASH)
    settings = settings_in(tmp_path, mode=mode)
    app = flask.Flask("test")
    CompatAuth(app, settings)
    (own,) = app.extensions["compat_auth"].chain.backends
    chain = Chain((Greedy(), own) if is_last else (own, Greedy()), settings.mode)

    with app.test_request_context():
        refused = [chain.ask(one).outcome for one in (Bearer(make_text().value), Basic("root", make_text().value))]
        other = chain.ask(Bearer("something-else")).outcome

    assert [type(outcome) for outcome in refused] == [Reject, Reject]
    assert isinstance(other, Accept)


def test_where_owners_cannot_be_looked_up_nothing_starts(tmp_path: Path) -> None:
    settings = settings_in(
        tmp_path,
        basic_auth={"directories": ["upstream"]},
        upstream={"url": "http://127.0.0.1:9", "profile": "generic"},
    )

    with pytest.raises(ConfigError, match=r"no directory says whether an owner is still active"):
        CompatAuth(flask.Flask("test"), settings)


def test_it_is_found_by_its_short_name(tmp_path: Path) -> None:
    (backend,) = load_chain(settings_in(tmp_path))

    assert isinstance(backend, PersonalTokenBackend)
    assert not (tmp_path / "store.db").exists()
