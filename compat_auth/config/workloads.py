"""The settings of workloads: jobs, pods and machines whose platform gives them a token."""

from __future__ import annotations

from pydantic import Field, StrictBool, StrictInt, StrictStr

from compat_auth.config.fields import Section, Values

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
    claims: dict[str, ClaimValue] = Field(
        min_length=1,
        description="What each claim must be. In a text, `*` stands for one or more characters other than `:` and `/`, `**`"
        " for one or more of any kind; without them the claim must be equal. All of them must hold.",
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
