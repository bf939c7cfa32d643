"""JWTs that are bound to a client's certificate (RFC 8705 section 3): the gate refuses one beside any other certificate.

The upstream does not look at `cnf`, so the gate does.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from urllib.parse import unquote

from compat_auth.client_certificates import shown_thumbprint
from compat_auth.config import ClientCertificateSettings
from compat_auth.crypto.strict_json import is_list, is_object
from compat_auth.errors import InvalidToken
from compat_auth.peer import Peer
from compat_auth.tokens.jose.unverified_claims import read_payload

CONFIRMATION = "x5t#S256"
# As each of our tokens has it. Who spells the name otherwise has signed the token, and is another issuer.
_NAME = b'"cnf"'
# What parsers take off a cookie's value: quotes, a character's number in octal or a backslash before it (RFC 2109, and
# Python's http.cookies), and percent-encoding. Nobody writes a token with more than one of them.
_ESCAPED = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)
_MAX_LAYERS = 4


class BoundTokens:
    """Compares the `cnf` of tokens for one audience with the certificate of a request.

    Args:
        certificates: How the client's certificate of a request is found.
        audience: Of the tokens that are made here.
    """

    def __init__(self, certificates: ClientCertificateSettings, audience: str) -> None:
        self._certificates = certificates
        self._audience = audience

    def refuse(self, token: str, peer: Peer) -> bool:
        """Return whether a token is bound to a certificate that the client has not shown.

        Args:
            token: Nobody has verified it: who takes `cnf` away has broken the signature.
            peer: The other end of the connection.
        """
        wanted = self._confirmation(token)
        if wanted is None:
            return False
        try:
            shown = shown_thumbprint(self._certificates, peer)
        except InvalidToken:
            return True
        return not shown or not hmac.compare_digest(shown.encode(), wanted.encode("utf-8", "surrogatepass"))

    def refuse_value(self, value: bytes, peer: Peer) -> bool:
        """Return whether a cookie's value is such a token in any spelling, or is in a form that cannot be checked.

        Args:
            value: As it came.
            peer: See `refuse`.
        """
        text = value.decode("latin-1")
        for _ in range(_MAX_LAYERS):
            before, text = text, _with_one_layer_less(text)
            if text == before:
                return self.refuse(text, peer)
        return True

    def _confirmation(self, token: str) -> str | None:
        """Return the thumbprint to which a token is bound; None where it is not bound, or is for others."""
        segments = token.split(".")
        if len(segments) != 3:
            return None
        try:
            if _NAME not in base64.urlsafe_b64decode(segments[1] + "=" * (-len(segments[1]) % 4)):
                return None
        except (binascii.Error, ValueError):
            return None
        claims = read_payload(token) or {}
        aud, cnf = claims.get("aud"), claims.get("cnf")
        if self._audience not in (aud if is_list(aud) else [aud]) or not is_object(cnf) or CONFIRMATION not in cnf:
            return None
        return str(cnf[CONFIRMATION])


def _with_one_layer_less(text: str) -> str:
    bare = _ESCAPED.sub(lambda found: chr(int(found[1], 8)) if found[1] else str(found[2]), text.strip('"'))
    return unquote(bare, encoding="latin-1")
