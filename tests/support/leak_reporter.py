"""A stand-in for who reports leaked tokens: publishes its keys as GitHub does, and signs."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.serving import served


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    """Return the public key as text."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


@dataclass
class Reporter:
    """The reporter.

    Attributes:
        key: Signs.
        published: What is said at the URL.
        asked: How often somebody has asked there.
        url: Of the keys.
    """

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    published: list[Any] = field(default_factory=list[Any])
    asked: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        self.published.append({"key_identifier": "current", "key": pem(self.key), "is_current": True})

    def headers(
        self, body: bytes, *, key_id: str = "current", algorithm: HashAlgorithm | None = None
    ) -> dict[str, str]:
        """Return the headers of a report."""
        signature = self.key.sign(body, ec.ECDSA(algorithm or SHA256()))
        return {
            "Github-Public-Key-Identifier": key_id,
            "Github-Public-Key-Signature": base64.b64encode(signature).decode("ascii"),
            "Content-Type": "application/json",
        }


@contextmanager
def publishing() -> Generator[Reporter]:
    """Yield a reporter whose keys can be had."""
    found = Reporter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked += 1
            body = json.dumps({"public_keys": found.published}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with served(Handler) as url:
        found.url = f"{url}/meta/public_keys/secret_scanning"
        yield found
