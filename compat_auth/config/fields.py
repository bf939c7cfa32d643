"""Types of settings' values: TOML values in the file are text in the environment."""

from __future__ import annotations

import ipaddress
import json
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

Profile = Literal["airflow-fab", "airflow-simple", "generic"]
Strategy = Literal["exchange", "shared_secret", "key_pair", "in_process"]
IssuerAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


def split_list(value: object) -> object:
    """Split Airflow's comma-separated string where a list of names is expected."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",")]
    return value


def split_values(value: object) -> object:
    """Split a comma-separated string from the environment where a list is expected; an empty one is an empty list."""
    return [] if value == "" else split_list(value)


def read_truth(value: object) -> object:
    """Convert the environment's spellings of true and false, which would otherwise be the name of a file."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def read_tables(value: object) -> object:
    """Parse a JSON list from the environment where the file has an array of tables."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("in the environment this is a JSON list of objects") from None


def _refuse_everyone(value: str) -> str:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not a network; write an address such as 10.0.0.1, or 10.0.0.0/8") from None
    if network.prefixlen == 0:
        raise ValueError(f"{value} trusts every address; name the proxies in front")
    # A value with bits beyond the prefix stays as written, so that `compat-auth check` can report it.
    return str(network) if str(network.network_address) == value.partition("/")[0] else value


def parse_table(value: object) -> object:
    """Parse a JSON object where a table is expected: variables' names have no case, but users' names do."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("not a JSON object") from None


Names = Annotated[list[str], BeforeValidator(split_list)]
Values = Annotated[list[str], BeforeValidator(split_values)]
Secrets = Annotated[list[SecretStr], BeforeValidator(split_values)]
Prefixes = Annotated[list[Annotated[str, Field(pattern="^/")]], BeforeValidator(split_values)]
Table = Annotated[dict[str, str], BeforeValidator(parse_table)]
Network = Annotated[str, AfterValidator(_refuse_everyone)]
Networks = Annotated[list[Network], BeforeValidator(split_values)]


class Section(BaseModel):
    """A section of the settings: an unknown key is an error, and values are immutable."""

    # Pydantic's errors would otherwise repeat the value, which may be a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
