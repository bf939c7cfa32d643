"""The settings of the backends that believe an OpenID provider."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from compat_auth.config.fields import IssuerAlgorithm, Section, Values, read_tables, read_truth, split_values

GOOGLE_JWKS_URL = "https://www.googleapis.com/oauth2/v3/certs"


class GoogleOpenIdSettings(Section):
    """ID tokens of Google accounts."""

    audience: Values = Field(default=[], description="Client ids that tokens must be meant for; any one of them.")
    authorized_parties: Values = Field(
        default=[], description="Further client ids that may have asked for the token (`azp`), such as a phone app's."
    )
    hosted_domains: Values = Field(
        default=[], description="Workspace domains (`hd`) to let in; empty: whoever the look-up knows."
    )
    service_accounts: Values = Field(
        default=[], description="E-mail addresses of service accounts to let in although they have no domain (`hd`)."
    )
    subjects: dict[str, str] = Field(
        default={}, description="Pinned accounts: Google's `sub` to the name that is looked up, whatever the e-mail."
    )
    create_role: str = Field(
        default="",
        description="Role of the user that is created in Airflow for an account of hosted_domains that the look-up does"
        " not know; empty: nobody is created.",
    )
    create_as: str = Field(
        default="", description="Airflow's administrator in whose name they are created; needed with create_role."
    )
    jwks_url: str = Field(default=GOOGLE_JWKS_URL, description="Where Google publishes its keys.")
    ca_file: str = Field(default="", description="PEM file of the authorities for jwks_url; empty: the system's.")


class OidcIssuerSettings(Section):
    """One issuer of access tokens."""

    issuer: str = Field(min_length=1, description="`iss`, exactly; its discovery document must say the same.")
    audience: Values = Field(default=[], description="Whom tokens must be meant for (`aud`); any one of them.")
    clients: Values = Field(default=[], description="Client ids whose tokens are believed; empty: every client's.")
    scope: str = Field(default="", description="Scopes that a token must have, separated by spaces.")
    username_claim: str = Field(
        default="sub",
        min_length=1,
        description="Claim with the user name; `email` is looked up as an address, where it is verified.",
    )
    subjects: dict[str, str] = Field(
        default={},
        description="Pinned accounts, and machines: `sub` to the name that is looked up, whatever the claim says.",
    )
    algorithms: Annotated[list[IssuerAlgorithm], BeforeValidator(split_values)] = Field(
        default=["RS256", "PS256", "ES256", "EdDSA"], min_length=1, description="What the issuer may sign with."
    )
    types: Values = Field(
        default=["at+jwt", "application/at+jwt"],
        min_length=1,
        description="`typ` of its JWTs (RFC 9068), compared without case; add JWT, or an empty text for none, where the"
        " issuer does not follow.",
    )
    max_lifetime_s: int = Field(
        default=108_000,
        ge=60,
        le=366 * 86_400,
        description="Longest lifetime of a JWT that is believed, in seconds, from `iat` to `exp`; without `iat`, from now."
        " Those of Microsoft Entra with continuous access evaluation live for up to 28 hours.",
    )
    jwks_url: str = Field(default="", description="Where its keys are; empty: what its discovery document says.")
    introspection: Annotated[bool | str, BeforeValidator(read_truth)] = Field(
        default=False, description="Ask about opaque tokens (RFC 7662): true for the discovered endpoint, or a URL."
    )
    userinfo: Annotated[bool | str, BeforeValidator(read_truth)] = Field(
        default=False,
        description="Show opaque tokens to UserInfo where there is no introspection: true, or a URL. Weaker: it tells"
        " neither audience nor scope.",
    )
    liveness: bool = Field(default=False, description="Show JWTs to UserInfo too, so that a revoked one is noticed.")
    sign_in: str = Field(
        default="",
        pattern=r"^([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?$",
        description="Name of its button on the login page, part of the address …/sign-in/NAME/callback; empty: none.",
    )
    sign_in_label: str = Field(default="", description="Text of the button; empty: one with the issuer's host.")
    sign_in_scope: str = Field(default="openid profile email", description="What a login asks for.")
    authorization_url: str = Field(
        default="", description="Its login page; empty: what its discovery document says, on its own host."
    )
    token_url: str = Field(
        default="", description="Where a login's code is redeemed; empty: what its discovery document says."
    )
    client_id: str = Field(default="", description="Our own client id at the issuer, for introspection and logins.")
    client_secret: SecretStr = Field(default=SecretStr(""), description="Our client's secret.")
    client_secret_file: str = Field(default="", description="File with our client's secret.")
    opaque_prefix: str = Field(
        default="", description="How its opaque tokens begin; empty: every Bearer that is not a JWT is shown to it."
    )
    ca_file: str = Field(default="", description="PEM file of the authorities for its URLs; empty: the system's.")


class OidcSettings(Section):
    """Access tokens of OpenID Connect and OAuth issuers."""

    issuers: Annotated[list[OidcIssuerSettings], BeforeValidator(read_tables)] = Field(
        default=[], description="An issuer of access tokens; one table for each."
    )
    cache_ttl_s: float = Field(
        default=600, ge=0, le=600, description="Seconds for which an issuer's answer about a token is believed."
    )
    cache_entries: int = Field(default=10_000, ge=1, description="Answers remembered, for each issuer and worker.")
    failures_per_minute: int = Field(
        default=100,
        ge=1,
        description="Tokens that an issuer may call wrong, from one address in a minute; then it is asked about no others.",
    )
