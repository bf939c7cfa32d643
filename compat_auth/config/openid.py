"""Settings of the backends for OpenID providers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, StrictBool, StrictInt, StrictStr

from compat_auth.config.connection.settings import OptionalHeaderName
from compat_auth.config.fields import IssuerAlgorithm, Section, Values, read_tables, read_truth, split_values

GOOGLE_TOKENINFO_URL = "https://oauth2.googleapis.com/tokeninfo"
GOOGLE_JWKS_URL = "https://www.googleapis.com/oauth2/v3/certs"


class GoogleOpenIdSettings(Section):
    """ID tokens of Google accounts."""

    audience: Values = Field(default=[], description="Client ids that tokens must be for (`aud`); any one of them.")
    authorized_parties: Values = Field(
        default=[], description="More client ids that may request the token (`azp`), such as a phone app's."
    )
    hosted_domains: Values = Field(
        default=[], description="Workspace domains (`hd`) to accept; empty: every account that the user lookup knows."
    )
    service_accounts: Values = Field(
        default=[], description="E-mail addresses of service accounts to accept, although they have no domain (`hd`)."
    )
    subjects: dict[str, str] = Field(
        default={},
        description="Linked accounts: maps Google's `sub` to the name to look up, whatever the e-mail address.",
    )
    create_role: str = Field(
        default="",
        description="Role of the user that is created in Airflow for an account of hosted_domains that the user lookup"
        " does not know; empty: no user is created.",
    )
    create_as: str = Field(
        default="", description="Administrator of Airflow who creates these users; required with create_role."
    )
    access_tokens: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=False, description="Also accept opaque access tokens (`ya29.…`), about which Google is asked."
    )
    access_token_audience: Values = Field(
        default=[],
        description="Client ids that access tokens must be from (`aud` and `azp`); empty: audience and"
        " authorized_parties. Accounts in service_accounts and subjects need none.",
    )
    tokeninfo_url: str = Field(default=GOOGLE_TOKENINFO_URL, description="Where Google says what an access token is.")
    jwks_url: str = Field(default=GOOGLE_JWKS_URL, description="Where Google publishes its keys.")
    ca_file: str = Field(default="", description="PEM file of the authorities for jwks_url; empty: the system's.")


class OidcIssuerSettings(Section):
    """One issuer of access tokens."""

    issuer: str = Field(min_length=1, description="`iss`, exactly; its discovery document must have the same.")
    audience: Values = Field(default=[], description="Audiences that tokens must be for (`aud`); any one of them.")
    clients: Values = Field(default=[], description="Client ids whose tokens are accepted; empty: every client's.")
    scope: str = Field(default="", description="Scopes that a token must have, separated by spaces.")
    username_claim: str = Field(
        default="sub",
        min_length=1,
        description="Claim with the user name; `email` is looked up as an address, if it is verified.",
    )
    subjects: dict[str, str] = Field(
        default={},
        description="Linked accounts and machines: maps `sub` to the name to look up, whatever the claim says.",
    )
    algorithms: Annotated[list[IssuerAlgorithm], BeforeValidator(split_values)] = Field(
        default=["RS256", "PS256", "ES256", "EdDSA"],
        min_length=1,
        description="Algorithms that the issuer may sign with.",
    )
    types: Values = Field(
        default=["at+jwt", "application/at+jwt"],
        min_length=1,
        description="Accepted `typ` of its JWTs (RFC 9068), case-insensitive; if the issuer does not follow the RFC,"
        " add JWT, or an empty text for a JWT without `typ`. With header,"
        " JWT and none are accepted unless this is set.",
    )
    max_lifetime_s: int = Field(
        default=108_000,
        ge=60,
        le=366 * 86_400,
        description="Longest accepted lifetime of a JWT in seconds, from `iat` to `exp`; without `iat`, from now. JWTs"
        " of Microsoft Entra with continuous access evaluation live up to 28 hours.",
    )
    header: OptionalHeaderName = Field(
        default="",
        description="Header in which a front proxy of trusted_proxies sends its signed JWT; empty: tokens come as Bearer."
        " A table with a header takes no Bearer.",
    )
    signer: str = Field(
        default="", description="AWS: the ARN of the load balancer that signs; needed where jwks_url has `{kid}`."
    )
    proxy_verifies_email: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=False,
        description="With header: `email` counts as verified where the JWT does not tell; never where somebody can choose"
        " the address at the identity provider.",
    )
    jwks_url: str = Field(
        default="",
        description="URL of its keys; empty: from its discovery document. With `{kid}` in it, one PEM for each key"
        " is there, as AWS load balancers have it.",
    )
    introspection: Annotated[bool | str, BeforeValidator(read_truth)] = Field(
        default=False, description="Introspect opaque tokens (RFC 7662): true for the discovered endpoint, or a URL."
    )
    userinfo: Annotated[bool | str, BeforeValidator(read_truth)] = Field(
        default=False,
        description="Show opaque tokens to UserInfo where there is no introspection: true, or a URL. Weaker: UserInfo"
        " returns neither audience nor scope.",
    )
    liveness: bool = Field(default=False, description="Show JWTs to UserInfo too, to detect a revoked one.")
    sign_in: str = Field(
        default="",
        pattern=r"^([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?$",
        description="Name of its button on the login page, part of the address …/sign-in/NAME/callback; empty: no"
        " button.",
    )
    sign_in_label: str = Field(default="", description="Text of the button; empty: a text with the issuer's host.")
    sign_in_scope: str = Field(default="openid profile email", description="Scopes that a login requests.")
    authorization_url: str = Field(
        default="", description="Authorization endpoint; empty: from its discovery document, on the issuer's own host."
    )
    token_url: str = Field(
        default="", description="Token endpoint, which redeems a login's code; empty: from its discovery document."
    )
    client_id: str = Field(default="", description="Our own client id at the issuer, for introspection and logins.")
    client_secret: SecretStr = Field(default=SecretStr(""), description="Our client's secret.")
    client_secret_file: str = Field(default="", description="File with our client's secret.")
    opaque_prefix: str = Field(
        default="", description="Prefix of its opaque tokens; empty: every Bearer that is not a JWT is shown to it."
    )
    ca_file: str = Field(default="", description="PEM file of the authorities for its URLs; empty: the system's.")


class OidcSettings(Section):
    """Access tokens of OpenID Connect and OAuth 2.0 issuers."""

    issuers: Annotated[list[OidcIssuerSettings], BeforeValidator(read_tables)] = Field(
        default=[], description="An issuer of access tokens; one table for each."
    )
    cache_ttl_s: float = Field(
        default=600, ge=0, le=600, description="Seconds for which an issuer's answer about a token is cached."
    )
    cache_entries: int = Field(default=10_000, ge=1, description="Cached answers for each issuer and worker.")
    failures_per_minute: int = Field(
        default=100,
        ge=1,
        description="Tokens from one address that an issuer may refuse in a minute; then it gets no more of them.",
    )


ClaimValue = StrictBool | StrictInt | StrictStr


class WorkloadSettings(Section):
    """Which tokens of a platform act as which account."""

    name: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?)?$",
        description="What the audit log calls the rule; empty: its place in the file, such as workloads[0].",
    )
    issuer: str = Field(min_length=1, description="`iss` of the token, exactly.")
    audience: Values = Field(
        min_length=1,
        description="`aud` of the token; any one of these, exactly. Choose a name that no other service takes.",
    )
    claims: dict[str, ClaimValue | list[ClaimValue] | dict[str, object]] = Field(
        min_length=1,
        description="What each claim must be. In a text, `*` stands for one or more characters other than `:` and `/`, `**`"
        ' for one or more of any kind; without them the claim must be equal. A list, such as `roles = ["dag-runner"]`, wants'
        " a list that has a matching element for each of its own. A table wants an object:"
        ' `resource_access.airflow.roles = ["dag-runner"]` looks at members, and a name in quotes, as in'
        ' `"kubernetes.io".namespace`, is one name. All of them must hold.',
    )
    account: str = Field(min_length=1, description="The role account or user that the workload acts as.")
    scopes: Values = Field(min_length=1, description="What it may do, such as trigger or dags:ID; all is no limit.")
    jwks: str = Field(
        default="",
        description="Where the issuer's keys are: a URL, a file (/…), or kubernetes for the cluster in which this runs;"
        " empty: what the issuer's discovery document says. One rule of an issuer says it for all.",
    )
    ca_file: str = Field(
        default="", description="PEM file of the authorities for the URLs of the issuer; empty: the system's."
    )
    token_file: str = Field(
        default="",
        description="File with a token that is shown where the keys are, such as a pod's own; needs jwks to be an https URL.",
    )
