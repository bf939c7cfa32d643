"""The settings of personal tokens."""

from __future__ import annotations

from pydantic import Field, SecretStr

from compat_auth.config.fields import Secrets, Section, Values


class PersonalTokenSettings(Section):
    """Tokens that users make for their scripts."""

    enabled: bool = Field(default=True, description="False: no token works, and they can only be listed and deleted.")
    max_days: int = Field(default=366, ge=1, le=3660, description="The last day of a token is at most so far ahead.")
    default_days: int = Field(default=90, ge=1, le=3660, description="The same, for a token made without saying so.")
    per_user_limit: int = Field(default=25, ge=1, description="Tokens that a user may have alive at once.")
    failures_per_minute: int = Field(
        default=60,
        ge=1,
        description="Wrong tokens from one address (IPv6: one /64), and for one id, before whoever sent them has to wait.",
    )
    pepper: SecretStr = Field(
        default=SecretStr(""),
        description="Keys the digests in the database; at least 32 bytes, the same in every replica. Empty: with SQLite,"
        " a file of mode 0600 beside the database that is made at first use.",
    )
    peppers: Secrets = Field(default=[], description="Instead of pepper, to rotate: newest first, then the older ones.")
    notice_url: str = Field(
        default="", description="Where we post that a token will end in 14, 7 or 1 days, or has leaked; empty: nowhere."
    )
    notice_secret: SecretStr = Field(
        default=SecretStr(""), description="Signs those posts, as Standard Webhooks says; at least 24 bytes."
    )
    leak_keys_url: str = Field(
        default="",
        description="Keys of whoever reports leaked tokens, such as"
        " https://api.github.com/meta/public_keys/secret_scanning; empty: no reports are taken.",
    )
    ca_file: str = Field(default="", description="PEM file of the authorities for both URLs; empty: the system's.")
    admins: Values = Field(
        default=[],
        description="Who may list and revoke everybody's tokens: role:NAME, group:NAME, user:NAME, …; any one of them.",
    )
