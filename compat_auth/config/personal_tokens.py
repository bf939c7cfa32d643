"""The settings of personal tokens."""

from __future__ import annotations

from pydantic import Field, SecretStr

from compat_auth.config.fields import Secrets, Section, Values


class PersonalTokenSettings(Section):
    """Tokens that users create for their scripts."""

    enabled: bool = Field(default=True, description="False: no token works; tokens can only be listed and revoked.")
    header: str = Field(
        default="X-API-Key",
        pattern=r"^([A-Za-z][A-Za-z0-9-]*)?$",
        description="Header that may bring a token in place of `Authorization: Bearer`; empty: none.",
    )
    max_days: int = Field(
        default=366, ge=1, le=3660, description="Days from today to the last possible day of a token."
    )
    default_days: int = Field(
        default=90, ge=1, le=3660, description="Days from today to the last day of a token, by default."
    )
    per_user_limit: int = Field(default=25, ge=1, description="Active tokens that a user may have at once.")
    failures_per_minute: int = Field(
        default=60,
        ge=1,
        description="Wrong tokens from one address (IPv6: one /64), and for one id, before their sender must wait.",
    )
    pepper: SecretStr = Field(
        default=SecretStr(""),
        description="Key of the digests in the database; at least 32 bytes, the same in every replica. Empty: with"
        " SQLite, a file of mode 0600 beside the database, created at first use.",
    )
    peppers: Secrets = Field(default=[], description="Replaces pepper, for rotation: newest first, then older ones.")
    notice_url: str = Field(
        default="", description="URL to post to when a token expires in 14, 7 or 1 days, or has leaked; empty: none."
    )
    notice_secret: SecretStr = Field(
        default=SecretStr(""), description="Key that signs these posts, as in Standard Webhooks; at least 24 bytes."
    )
    leak_keys_url: str = Field(
        default="",
        description="URL of the keys of a reporter of leaked tokens, such as"
        " https://api.github.com/meta/public_keys/secret_scanning; empty: reports are refused.",
    )
    ca_file: str = Field(default="", description="PEM file of the authorities for both URLs; empty: the system's.")
    admins: Values = Field(
        default=[],
        description="Who may list and revoke all tokens: role:NAME, group:NAME, user:NAME, …; any one of them; empty:"
        " nobody.",
    )
