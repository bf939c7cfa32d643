"""The ten-line app of docs/examples with a real KDC, asked by requests-kerberos and by Airflow 2's client session."""

from __future__ import annotations

import runpy
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_kerberos
from werkzeug.serving import make_server

from compat_auth_backends import kerberos
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets

pytestmark = pytest.mark.peer

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "kerberos_app.py"


def test_kerberos_alone_lets_in_who_has_a_ticket(kdc: Kdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(kdc.keytab("HTTP/localhost"), tmp_path / "http.keytab")
    (tmp_path / "http.keytab").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    app: Any = runpy.run_path(str(EXAMPLE))["app"]
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://localhost:{server.server_port}/"
    for name, value in Tickets(kdc).environ("alice").items():
        monkeypatch.setenv(name, value)

    try:
        auth = requests_kerberos.HTTPKerberosAuth(mutual_authentication=requests_kerberos.REQUIRED)
        by_ticket = requests.get(url, auth=auth, timeout=30)
        with kerberos.create_client_session() as client:
            by_session = client.get(url, timeout=30)
        without = requests.get(url, timeout=30)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert (by_ticket.status_code, by_ticket.text) == (200, "alice")
    assert (by_session.status_code, by_session.text) == (200, "alice")
    assert (without.status_code, without.headers["WWW-Authenticate"]) == (401, "Negotiate")
