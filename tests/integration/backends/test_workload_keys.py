"""Where the keys of a platform are: discovered, at a URL, in a file, or at the API of a cluster that wants a token."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from compat_auth.credentials import Bearer
from compat_auth.errors import BackendUnavailable
from compat_auth.outcome import Accept, Reject
from compat_auth_backends.workloads import keys as key_places
from compat_auth_backends.workloads.backend import WorkloadBackend
from support.peers.authority import Authority
from support.stub_issuer import OTHER_RSA_KEY, RSA_KEY, Answer, StubIssuer, jwk, running_issuer
from support.workload_tokens import KUBERNETES, rule_for, settings_with, token_of

POD_TOKEN = "of-the-pod"
KEYS = {"keys": [jwk(RSA_KEY.public_key(), "rsa")]}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[StubIssuer]:
    """The API server of a cluster, which shows its keys only to who has a token of it."""
    signed = Authority(tmp_path).sign("cluster")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(signed.certificate, signed.key)
    (tmp_path / "token").write_text(f"{POD_TOKEN}\n")
    with running_issuer(tls) as stub:

        def answer(form: Mapping[str, str]) -> Answer:
            del form
            shown = stub.received[-1].get("authorization")
            return Answer(KEYS) if shown == f"Bearer {POD_TOKEN}" else Answer(status=401)

        stub.says["/openid/v1/jwks"] = answer
        yield stub


def ask(folder: Path, **rule: object) -> WorkloadBackend:
    return WorkloadBackend.from_settings(settings_with(folder, rule_for("kubernetes", folder, **rule)))


def port_of(stub: StubIssuer) -> str:
    return stub.url.rpartition(":")[2]


def test_a_clusters_keys_are_read_with_its_ca_and_a_token(cluster: StubIssuer, tmp_path: Path) -> None:
    url = f"https://127.0.0.1:{port_of(cluster)}/openid/v1/jwks"
    backend = ask(tmp_path, jwks=url, ca_file=str(tmp_path / "ca.pem"), token_file=str(tmp_path / "token"))

    outcome = backend.authenticate(Bearer(token_of("kubernetes")))

    assert isinstance(outcome, Accept)
    assert backend.probe() == f"{KUBERNETES} publishes 1 keys"


def test_inside_the_cluster_one_word_is_enough(
    cluster: StubIssuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.crt").write_bytes((tmp_path / "ca.pem").read_bytes())
    monkeypatch.setattr(key_places, "POD_FOLDER", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT_HTTPS", port_of(cluster))

    outcome = ask(tmp_path, jwks="kubernetes").authenticate(Bearer(token_of("kubernetes")))

    assert isinstance(outcome, Accept)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda folder: (folder / "token").write_text("expired"), id="token-refused"),
        pytest.param(lambda folder: (folder / "token").write_text(""), id="token-empty"),
        pytest.param(lambda folder: (folder / "token").unlink(), id="token-missing"),
        pytest.param(lambda folder: (folder / "token").write_text("a\r\nb: c"), id="token-with-a-header"),
        pytest.param(lambda folder: Authority(folder, "another"), id="another-authority"),
    ],
)
def test_a_cluster_that_cannot_be_asked_is_503_and_lets_nobody_in(
    cluster: StubIssuer, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(tmp_path)
    url = f"https://127.0.0.1:{port_of(cluster)}/openid/v1/jwks"
    backend = ask(tmp_path, jwks=url, ca_file=str(tmp_path / "ca.pem"), token_file=str(tmp_path / "token"))

    with pytest.raises(BackendUnavailable):
        backend.authenticate(Bearer(token_of("kubernetes")))


def test_an_issuers_keys_are_discovered_and_asked_for_once(tmp_path: Path) -> None:
    with running_issuer() as issuer:
        backend = ask(tmp_path, issuer=issuer.url, jwks=None)

        outcomes = [backend.authenticate(Bearer(token_of("kubernetes", iss=issuer.url))) for _ in range(3)]

    assert [type(outcome) for outcome in outcomes] == [Accept] * 3
    assert issuer.asked["/jwks"] == 1


@pytest.mark.parametrize(
    "document", [{"issuer": "https://evil.example"}, {"jwks_uri": "https://evil.example/jwks"}, {"jwks_uri": None}]
)
def test_a_discovery_document_of_another_or_with_keys_elsewhere_is_not_believed(
    tmp_path: Path, document: Mapping[str, object]
) -> None:
    with running_issuer() as issuer:
        issuer.document |= document
        backend = ask(tmp_path, issuer=issuer.url, jwks=None)

        with pytest.raises(BackendUnavailable):
            backend.authenticate(Bearer(token_of("kubernetes", iss=issuer.url)))


def test_a_token_that_is_wrong_anyway_makes_nobody_ask_the_issuer(tmp_path: Path) -> None:
    with running_issuer() as issuer:
        backend = ask(tmp_path, issuer=issuer.url, jwks=None)

        outcome = backend.authenticate(Bearer(token_of("kubernetes", iss=issuer.url, aud="other")))

    assert isinstance(outcome, Reject)
    assert not issuer.asked


def test_a_key_file_that_went_away_or_bad_is_503(tmp_path: Path) -> None:
    missing = ask(tmp_path, jwks=str(tmp_path / "none.json"))
    writable = ask(tmp_path)
    (tmp_path / "jwks.json").chmod(0o666)

    for backend in (missing, writable):
        with pytest.raises(BackendUnavailable):
            backend.authenticate(Bearer(token_of("kubernetes")))


def test_the_rules_of_one_issuer_share_what_one_of_them_says_about_keys(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.json"
    theirs.write_text(json.dumps({"keys": [jwk(OTHER_RSA_KEY.public_key(), "rsa")]}))
    other = {"sub": "system:serviceaccount:etl:other"}
    rules = [
        rule_for("kubernetes", tmp_path, jwks=None),
        rule_for("kubernetes", tmp_path, jwks=str(theirs), claims=other),
    ]

    backend = WorkloadBackend.from_settings(settings_with(tmp_path, *rules))

    assert isinstance(backend.authenticate(Bearer(token_of("kubernetes", key=OTHER_RSA_KEY))), Accept)
