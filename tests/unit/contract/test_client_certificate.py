"""client_certificate, held to what every backend must do."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.backend import Backend
from compat_auth.config import ClientCertificateSettings
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.connection.authority import Authority as Verifier
from compat_auth_backends.connection.client_certificate import ClientCertificateBackend
from support.certificates import DAY, NOW, Authority
from unit.contract.test_remote_user import Known

AUTHORITY = Authority()
REVOKED = AUTHORITY.issue("CN=alice,O=Example")
NAME = "X-SSL-Client-Cert"


class TestClientCertificate(BackendContract, has_source=True):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path: Path) -> None:
        self.crl = tmp_path / "crl.pem"
        self.crl.write_text(AUTHORITY.revocations(REVOKED))
        self.ca = AUTHORITY.write(tmp_path / "ca.pem")

    @pytest.fixture
    def backend(self, files: None) -> Backend:
        del files
        settings = ClientCertificateSettings.model_validate(
            {
                "ca_file": str(self.ca),
                "crl_file": str(self.crl),
                "proxies": ["127.0.0.1/32"],
                "forwarded": "nginx",
                "accounts": [{"subject": "CN=*,O=Example", "user": "{1}"}],
            }
        )
        return ClientCertificateBackend(settings, UserLookup((Known(),)), Verifier(str(self.ca), str(self.crl)))

    def good(self) -> Headers:
        return {NAME: AUTHORITY.issue("CN=alice,O=Example").escaped}

    def bad(self) -> Mapping[str, Headers]:
        shown = {
            "revoked": REVOKED,
            "of another authority": Authority().issue("CN=alice,O=Example"),
            "expired": AUTHORITY.issue("CN=alice,O=Example", ends=NOW - DAY / 2),
            "of nobody's": AUTHORITY.issue("CN=alice,O=Other"),
            "of an unknown user": AUTHORITY.issue("CN=nobody,O=Example"),
            "of a disabled user": AUTHORITY.issue("CN=disabled,O=Example"),
        }
        return {name: {NAME: issued.escaped} for name, issued in shown.items()}

    @contextlib.contextmanager
    def break_source(self) -> Generator[None]:
        self.crl.write_text(AUTHORITY.revocations(REVOKED, ends=NOW - DAY / 2))
        yield
        self.crl.write_text(AUTHORITY.revocations(REVOKED))
