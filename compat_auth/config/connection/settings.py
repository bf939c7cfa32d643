"""The settings of the backends that believe what a front proxy, or a TLS connection, says about the caller."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from compat_auth.config.fields import Network, Section, read_tables, read_truth, split_values

_NETWORKS = "Networks of the proxies that are believed, each inside one of trusted_proxies; nobody else is."
_TOKEN = frozenset("!#$%&'*+-^`|~0123456789abcdefghijklmnopqrstuvwxyz")
# They mean something else to the gate, or to HTTP.
_TAKEN_NAMES = (
    "host authorization proxy-authorization cookie content-length transfer-encoding connection upgrade te forwarded "
    "x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-forwarded-prefix x-forwarded-uri "
    "x-forwarded-method x-forwarded-server x-real-ip x-original-url x-original-uri x-original-method accept "
    "accept-encoding content-type expect origin range referer user-agent via"
)
_TAKEN = frozenset(_TAKEN_NAMES.split())


def check_header_name(name: str) -> str:
    """Return the name of a header in which somebody is named.

    Raises:
        ValueError: It is none, or one that means something else.
    """
    lower = name.lower()
    if not set(lower) <= _TOKEN:
        raise ValueError(f"{name!r} is no name of a header; write letters, digits and '-', such as X-Forwarded-User")
    if lower in _TAKEN or lower.startswith("x-compat-auth-"):
        raise ValueError(f"{name} means something else; choose a header that only says who the caller is")
    return name


HeaderName = Annotated[str, AfterValidator(check_header_name)]
OptionalHeaderName = Annotated[str, AfterValidator(lambda name: check_header_name(name) if name else name)]
Networks = Annotated[list[Network], BeforeValidator(split_values)]


class RemoteUserSettings(Section):
    """The name of the caller in a header that a proxy in front sets, and does not sign."""

    proxies: Networks = Field(default=[], description=_NETWORKS)
    header: HeaderName = Field(
        default="X-Forwarded-User",
        min_length=1,
        description="Header with the name; the proxy must always overwrite it.",
    )
    email: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=False, description="The header has an e-mail address, by which the user is looked up."
    )
    forward_auth: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=False,
        description="Believe the header in forward-auth, too. The proxy must set it in the request that asks us, or the"
        " client's own is believed.",
    )


class CertificateAccountSettings(Section):
    """Which certificates act as an account. Everything that is set must match; at least one must be set."""

    subject: str = Field(
        default="",
        description="Pattern for the subject as RFC 4514 writes it, such as `CN=*,OU=Robots,O=Example`; `*` stands for"
        " any part of one value.",
    )
    dns: str = Field(default="", description="Pattern for a DNS name (SAN); `*` stands for any part of one label.")
    email: str = Field(default="", description="Pattern for an e-mail address (SAN); `*` does not go beyond the `@`.")
    uri: str = Field(
        default="",
        description="Pattern for a URI (SAN), such as a SPIFFE ID; `*` stands for any part of one segment, `**` for"
        " several segments.",
    )
    user: str = Field(
        min_length=1, description="The account; `{1}` is what the first `*` of the first pattern stands for."
    )
    scopes: Annotated[list[str], BeforeValidator(split_values)] = Field(
        default=[],
        description="What the account may do by such a certificate, as for a personal token; empty: all that it may.",
    )


class ClientCertificateSettings(Section):
    """Certificates that clients show in TLS: to `serve` itself, or to a front proxy that forwards them."""

    ca_file: str = Field(
        default="", description="PEM file with the authorities that issue the certificates, and only those."
    )
    crl_file: str = Field(
        default="",
        description="PEM file with their lists of revoked certificates, read again when it changes; a list that has"
        " ended refuses everybody.",
    )
    accounts: Annotated[list[CertificateAccountSettings], BeforeValidator(read_tables)] = Field(
        default=[], description="Which certificates act as which account; one table for each rule."
    )
    proxies: Networks = Field(default=[], description=_NETWORKS)
    forwarded: Literal["", "nginx", "haproxy", "envoy", "traefik", "subject"] = Field(
        default="",
        description="How those proxies write a certificate into the header: nginx (escaped PEM), haproxy (DER in base64),"
        " envoy (X-Forwarded-Client-Cert), traefik, or subject: its subject alone.",
    )
    header: OptionalHeaderName = Field(
        default="",
        description="That header; empty: X-SSL-Client-Cert (nginx, haproxy), X-Forwarded-Client-Cert (envoy),"
        " X-Forwarded-Tls-Client-Cert (traefik), X-SSL-Client-S-DN (subject).",
    )
    verify_header: HeaderName = Field(
        default="X-SSL-Client-Verify",
        min_length=1,
        description="subject: header that says SUCCESS, or 0, where the proxy has verified the certificate.",
    )
    believe_proxies: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=False,
        description="Believe subject and names without the certificate itself, as subject and Envoy without `Cert` send"
        " them: then ca_file and crl_file are the proxy's to check.",
    )
    forward_auth: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=False,
        description="Believe the header in forward-auth, too. The proxy must set it in the request that asks us, or the"
        " client's own is believed.",
    )

    @property
    def headers(self) -> tuple[str, ...]:
        """The headers that are read, in lower case; the certificate's is the first."""
        default = {
            "": "",
            "nginx": "x-ssl-client-cert",
            "haproxy": "x-ssl-client-cert",
            "envoy": "x-forwarded-client-cert",
            "traefik": "x-forwarded-tls-client-cert",
            "subject": "x-ssl-client-s-dn",
        }
        name = (self.header or default[self.forwarded]).lower()
        names = (name, self.verify_header.lower()) if self.forwarded == "subject" else (name,)
        return tuple(filter(None, names))
