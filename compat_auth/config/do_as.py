"""The settings of callers who act for users."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from compat_auth.config.fields import Network, Section, Values, split_values


def _refuse_administrators(roles: list[str]) -> list[str]:
    if any(role.strip().lower() == "admin" for role in roles):
        raise ValueError("administrators have to be named one by one, in users")
    return roles


class DoAsSettings(Section):
    """Callers, and the users for whom they may act (`doAs`)."""

    callers: Values = Field(min_length=1, description="User names of the callers, as the directory spells them.")
    backends: Values = Field(default=[], description="Backends that must have vouched for the caller; empty: any.")
    networks: Annotated[list[Network], BeforeValidator(split_values)] = Field(
        default=[], description="Networks that the caller must be in; empty: any."
    )
    users: Values = Field(default=[], description="Users for whom they may act, as the directory spells them.")
    roles: Annotated[Values, AfterValidator(_refuse_administrators)] = Field(
        default=[], description="They may also act for users who have no other roles than these; never `Admin`."
    )
