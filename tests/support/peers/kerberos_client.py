"""A client of Kerberos that can do what no library does: make one token, and use it as often as a test likes."""

from __future__ import annotations

import base64
from typing import Any

import gssapi.raw
from gssapi.raw.oids import OID

from support.peers.kerberos import Kdc

# Typed by hand: pyright cannot follow the way in which gssapi's stubs name each other.
gss: Any = gssapi.raw
KRB5: OID = gss.OID.from_int_seq("1.2.840.113554.1.2.2")
SPNEGO: OID = gss.OID.from_int_seq("1.3.6.1.5.5.2")
# Type 1 messages of NTLM, bare (MS-NLMP 2.2.1.1) and as the mechanism that SPNEGO offers first (MS-SPNG 4.1).
NTLM = bytes.fromhex("4e544c4d5353500001000000978208e2000000000000000000000000000000000a0063450000000f")
NTLM_IN_SPNEGO = bytes.fromhex("604806062b0601050502a03e303ca00e300c060a2b06010401823702020aa22a0428") + NTLM


class Tickets:
    """Users with a ticket each, made once."""

    def __init__(self, kdc: Kdc, caches: dict[str, str] | None = None) -> None:
        self._kdc = kdc
        self._caches = caches or {}

    def environ(self, user: str) -> dict[str, str]:
        """Return the environment of a program that has the user's ticket."""
        if user not in self._caches:
            self._caches[user] = self._kdc.kinit(user)["KRB5CCNAME"]
        return {**self._kdc.env, "KRB5CCNAME": self._caches[user]}

    def token(self, user: str, service: str = "HTTP@localhost", *, mech: OID = SPNEGO, bindings: Any = None) -> bytes:
        """Return a new token of the user for a service."""
        cache = self.environ(user)["KRB5CCNAME"].encode()
        creds = gss.acquire_cred_from({b"ccache": cache}, usage="initiate").creds
        target = gss.import_name(service.encode(), gss.NameType.hostbased_service)
        flags = [gss.RequirementFlag.mutual_authentication]
        made: bytes = gss.init_sec_context(target, creds, mech=mech, flags=flags, channel_bindings=bindings).token
        return made


def negotiate(token: bytes) -> dict[str, str]:
    """Return the header that presents a token."""
    return {"Authorization": "Negotiate " + base64.b64encode(token).decode()}
