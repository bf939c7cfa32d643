"""Asks a KDC for one principal of a keytab. Runs as a program of its own: libkrb5 has no time limit.

Input, on standard input, is JSON with `keytab`, `components` and `realm`. Output is JSON, see `KdcFacts`. The trace of
libkrb5 says which KDC it asked; it goes into a temporary file, and is read for the address alone.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compat_auth.cli.doctor.peers.kerberos_messages import KdcAnswer, KeyNumber, as_request, key_of_token, read_answer
from compat_auth.errors import BackendUnavailable

_WHOLE_WAIT_S = 25
_WAIT_S = 3.0
_KERBEROS_OID = "1.2.840.113554.1.2.2"  # RFC 4121 section 6
_ASKED = re.compile(r"Sending (?:initial |retry )?(?:TCP|UDP) request to (?:stream|dgram) (\S+):(\d+)")
_USUAL_TYPES = (18, 17, 20, 19, 23)
_NO_TYPE = (-1000,)  # nobody has it, so that the answer is an error, which has the KDC's time


@dataclass(frozen=True, slots=True)
class KdcFacts:
    """The facts that a KDC tells about a principal whose key is in a keytab.

    Attributes:
        kdc: HOST:PORT; "" if none was asked.
        error: libkrb5's message; "" if the KDC accepted the key and made a ticket.
        ticket_kvno: The key version of the ticket; None if there is no ticket.
        ticket_type: The encryption type of the ticket's key.
        client_kvno: The key version of the principal, if the KDC tells it to anybody.
        ahead_s: Seconds by which our clock is ahead of the KDC's; None if the KDC did not say.
    """

    kdc: str = ""
    error: str = ""
    ticket_kvno: int | None = None
    ticket_type: int | None = None
    client_kvno: int | None = None
    ahead_s: float | None = None


def ask_kdc(keytab: str, components: tuple[str, ...], realm: str) -> KdcFacts:
    """Return the facts about a principal.

    Raises:
        BackendUnavailable: No KDC answered in time.
    """
    question = json.dumps({"keytab": keytab, "components": components, "realm": realm}).encode()
    with tempfile.TemporaryDirectory(prefix="compat-auth-doctor-") as folder:
        env = {**os.environ, "KRB5_TRACE": f"{folder}/trace", "KRB5CCNAME": "MEMORY:doctor"}
        try:
            done = subprocess.run(  # noqa: S603  # this module
                [sys.executable, "-m", __name__],
                input=question, env=env, capture_output=True, timeout=_WHOLE_WAIT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise BackendUnavailable(
                f"kerberos: no KDC of {realm} answered within {_WHOLE_WAIT_S} s; check [realms] of krb5.conf, DNS and "
                "the firewall (port 88)"
            ) from None
    if done.returncode:
        raise BackendUnavailable("kerberos: GSSAPI could not be loaded; install compat_auth with its extra 'kerberos'")
    return KdcFacts(**json.loads(done.stdout))


def _facts(keytab: str, components: tuple[str, ...], realm: str) -> KdcFacts:
    key, error = _log_in(keytab, f"{'/'.join(components)}@{realm}")
    address = _address_in(Path(os.environ["KRB5_TRACE"]))
    if address is None:
        return KdcFacts(error=error or "no KDC was asked")
    before = time.time()
    clock = _send(address, as_request(components, realm, _NO_TYPE))
    ahead_s = None if clock is None or clock.time is None else (before + time.time()) / 2 - clock.time
    client = _send(address, as_request(components, realm, _USUAL_TYPES)) if error else None
    return KdcFacts(
        f"{address[0]}:{address[1]}",
        error,
        None if key is None else key.kvno,
        None if key is None else key.encryption_type,
        client.key.kvno if client is not None and client.key is not None else None,
        ahead_s,
    )


def _log_in(keytab: str, principal: str) -> tuple[KeyNumber | None, str]:
    """Return the key of a ticket to the principal itself, and libkrb5's message if there is none."""
    gss: Any = importlib.import_module("gssapi.raw")
    mechanism = gss.OID.from_int_seq(_KERBEROS_OID)
    store = {b"client_keytab": f"FILE:{keytab}".encode(), b"ccache": b"MEMORY:doctor"}
    try:
        name = gss.import_name(principal.encode(), gss.NameType.kerberos_principal)
        creds = gss.acquire_cred_from(store, name=name, usage="initiate", mechs=[mechanism]).creds
        token: bytes = gss.init_sec_context(name, creds, mech=mechanism).token
    except gss.GSSError as exc:
        failure: Any = exc
        texts: list[str] = failure.get_all_statuses(failure.min_code, False) if failure.min_code else []
        return None, " ".join("; ".join(texts or failure.get_all_statuses(failure.maj_code, True)).split())
    try:
        return key_of_token(token), ""
    except (ValueError, KeyError) as exc:
        return None, f"the ticket cannot be read ({exc})"


def _address_in(trace: Path) -> tuple[str, int] | None:
    found = _ASKED.findall(trace.read_text(errors="replace")) if trace.exists() else []
    return (found[-1][0], int(found[-1][1])) if found else None


def _send(address: tuple[str, int], message: bytes) -> KdcAnswer | None:
    """Return the answer, over TCP (RFC 4120 section 7.2.2); None if there is none that can be read."""
    try:
        with socket.create_connection(address, timeout=_WAIT_S) as sock:
            sock.sendall(len(message).to_bytes(4, "big") + message)
            stream = sock.makefile("rb")
            with stream:
                size = int.from_bytes(stream.read(4), "big")
                return read_answer(stream.read(min(size, 64 * 1024)))
    except (OSError, ValueError, KeyError):
        return None


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    sys.stdout.write(json.dumps(asdict(_facts(asked["keytab"], tuple(asked["components"]), asked["realm"]))))
