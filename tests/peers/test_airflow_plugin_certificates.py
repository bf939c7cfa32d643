"""A token that is bound to a certificate, inside a live Airflow 3.3 whose clients come by a front proxy.

The test plays the proxy that the settings name: it writes the certificate into the header, as nginx does.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from compat_auth.client_certificates import thumbprint_of
from support.certificates import Authority
from support.peers import seed
from support.peers.gateway import call
from support.peers.plugin import StartPlugged

pytestmark = pytest.mark.peer

CA = Authority()
OWN, OTHERS = CA.issue(), CA.issue("CN=mallory,O=Example")
SHOWN = {"X-SSL-Client-Cert": OWN.escaped}
SETTINGS = {
    "AIRFLOW__COMPAT_AUTH__AUTH_BACKENDS": "basic_auth,personal_token",
    "AIRFLOW__COMPAT_AUTH__TRUSTED_PROXIES": "127.0.0.1/32",
    "AIRFLOW__COMPAT_AUTH__CLIENT_CERTIFICATE__PROXIES": "127.0.0.1/32",
    "AIRFLOW__COMPAT_AUTH__CLIENT_CERTIFICATE__FORWARDED": "nginx",
}


@pytest.fixture(scope="module")
def url(plugged_airflow: StartPlugged) -> str:
    return plugged_airflow(seed.SIMPLE, **SETTINGS).url


@pytest.fixture(scope="module")
def token(url: str) -> str:
    body = {"name": "bound", "certificate": "shown"}
    path = f"{url}/compat-auth/api/personal-tokens"
    answer = call("POST", path, auth=("admin", "admin"), json=body, headers=SHOWN)
    assert answer.status_code == 201, answer.text
    assert answer.json()["certificate"] == thumbprint_of(OWN.der)
    return str(answer.json()["token"])


def status(url: str, token: str, shown: Mapping[str, str], path: str = "/api/v2/dags", method: str = "GET") -> int:
    return call(method, url + path, headers={"Authorization": f"Bearer {token}", **shown}).status_code


def test_the_token_works_beside_its_certificate_alone(url: str, token: str) -> None:
    others = {"X-SSL-Client-Cert": OTHERS.escaped}
    folded = {"X_SSL_Client_Cert": OWN.escaped}

    found = [status(url, token, shown) for shown in (SHOWN, {}, others, folded, SHOWN, {})]

    assert found == [200, 401, 401, 400, 200, 401]


def test_airflow_makes_no_jwt_from_it_that_would_work_without(url: str, token: str) -> None:
    found = [status(url, token, shown, "/auth/token", "POST") for shown in (SHOWN, {})]

    assert found == [403, 401]
