"""TLS of `serve`: what cannot work stops the start, and says what to do."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from compat_auth.cli.diagnosis.useless_settings import wide_networks
from compat_auth.config import Settings, parse_settings
from compat_auth.errors import ConfigError
from compat_auth.gateway.server.tls import ServerTls
from support.certificates import Authority

CA = Authority()
OURS, OTHERS = CA.issue("CN=ours"), CA.issue("CN=others")


def settings_of(cert: object, key: object, **more: object) -> Settings:
    return parse_settings({"serve": {"tls_cert": str(cert), "tls_key": str(key)}, **more}, origin="test")


def test_without_a_certificate_it_is_plain_http() -> None:
    assert ServerTls.from_settings(settings_of("", "")) is None


def test_clients_are_asked_for_a_certificate_only_by_the_backend_for_them(tmp_path: Path) -> None:
    cert, key = OURS.write(tmp_path, "ours")
    section = {"client_certificate": {"ca_file": str(CA.write(tmp_path / "ca.pem"))}}

    modes = [
        tls.context.verify_mode
        for names in (["basic_auth"], ["basic_auth", "client_certificate"])
        if (tls := ServerTls.from_settings(settings_of(cert, key, auth_backends=names, **section)))
    ]

    assert modes == [ssl.CERT_NONE, ssl.CERT_OPTIONAL]


def test_versions_before_tls_1_2_are_not_spoken(tmp_path: Path) -> None:
    tls = ServerTls(*map(str, OURS.write(tmp_path, "ours")))

    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert tls.context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize(("cert", "key", "missing"), [("a", "", "tls_key"), ("", "a", "tls_cert")])
def test_one_file_without_the_other_stops_the_start(cert: str, key: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=rf"serve\.{missing}: missing; tls_cert and tls_key belong together"):
        ServerTls.from_settings(settings_of(cert, key))


def test_files_that_cannot_work_stop_the_start(tmp_path: Path) -> None:
    cert, key = map(str, OURS.write(tmp_path, "ours"))
    _, others = map(str, OTHERS.write(tmp_path, "others"))
    secret = tmp_path / "secret.key"
    secret.write_bytes(OURS.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    (tmp_path / "text").write_text("no PEM")
    shared = tmp_path / "shared.pem"
    shared.write_text(OURS.pem)
    shared.chmod(0o666)

    for files, problem in (
        ((cert, str(tmp_path / "nowhere")), "no such file: .*nowhere"),
        ((cert, others), "cannot be used .*its own key"),
        ((cert, str(secret)), "without a passphrase"),
        ((str(tmp_path / "text"), key), "cannot be used"),
        ((str(shared), key), "chmod go-w"),
        ((cert, key, str(tmp_path / "text")), "ca_file: .*cannot be used"),
        ((cert, key, str(tmp_path / "nowhere")), "ca_file: .*cannot be used"),
    ):
        with pytest.raises(ConfigError, match=problem):
            ServerTls(*files)


def test_a_pair_that_does_not_fit_leaves_the_one_before_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = OURS.write(tmp_path, "ours")
    tls = ServerTls(str(cert), str(key))
    caplog.set_level(logging.INFO)

    key.write_bytes(OTHERS.write(tmp_path, "others")[1].read_bytes())
    tls.refresh()
    tls.refresh()
    cert.write_text(OTHERS.pem)
    tls.refresh()

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].endswith("the certificate before it stays in use")
    assert said[1].endswith("read again")


def test_the_check_warns_of_named_proxies_that_mean_more_than_they_say() -> None:
    content = {
        "trusted_proxies": ["10.0.0.0/8"],
        "remote_user": {"proxies": ["10.0.0.5/24"]},
        "client_certificate": {"proxies": ["10.0.0.6/24"]},
    }

    found = list(wide_networks(parse_settings(content, origin="test")))

    assert [line.partition(":")[0] for line in found] == ["remote_user.proxies", "client_certificate.proxies"]
