"""The settings for tasks of Airflow that call Airflow's API."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator, model_validator

from compat_auth.config.fields import Section, Values, read_tables
from compat_auth.scopes import ALL, parse_scopes

EXECUTION_AUDIENCE = "urn:airflow.apache.org:task"
"""`aud` of a task's execution token, unless `[execution_api] jwt_audience` of Airflow says otherwise."""
# Airflow's own rule for ids, and the wildcard.
_PATTERN = re.compile(r"[\w.\-*]{1,250}\Z")


def _read_pattern(value: str) -> str:
    if not _PATTERN.match(value):
        raise ValueError(
            f"{value!r} is no pattern; write letters, digits, '_', '-', '.', '*' and '**', such as sales.*"
        )
    if "***" in value:
        raise ValueError(f"{value!r} has three asterisks in a row; write * (stops at a dot) or ** (does not)")
    return value


class TaskRuleSettings(Section):
    """Which tasks act as which account."""

    dag: str = Field(
        description="Pattern of the DAG's id; `*` stands for any characters except dots, `**` for any characters."
    )
    task: str = Field(default="**", description="Pattern of the task's id; a task in a group is `group.task`.")
    bundle: str = Field(
        default="", description="Name of the DAG bundle that the DAG must come from; empty: any bundle."
    )
    account: str = Field(
        min_length=1, description="User name that the task acts as; best a role account that only tasks use."
    )
    scopes: Values = Field(min_length=1, description="What the task may do, spelt like the scopes of a personal token.")

    @field_validator("dag", "task")
    @classmethod
    def _check_pattern(cls, value: str) -> str:
        return _read_pattern(value)

    @field_validator("scopes")
    @classmethod
    def _check_scopes(cls, value: list[str]) -> list[str]:
        if ALL in value:
            raise ValueError("'all' limits nothing; name what the task does, such as trigger or 'GET /api/v2/dags/'")
        parse_scopes(tuple(value))
        return value

    @model_validator(mode="after")
    def _check_not_everybody(self) -> TaskRuleSettings:
        if not self.bundle and not self.dag.strip("*."):
            raise ValueError(
                f"dag: {self.dag!r} is every DAG of every author; name a part of the id, or the bundle it comes from"
            )
        return self


class AirflowTaskSettings(Section):
    """Tasks of Airflow 3 that call Airflow's API without a stored secret."""

    rules: Annotated[list[TaskRuleSettings], BeforeValidator(read_tables)] = Field(
        default=[], description="Which tasks act as which account; one table for each. The first that matches decides."
    )
    connection_id: str = Field(
        default="compat_auth",
        pattern=r"^[A-Za-z0-9_-]{1,100}$",
        description="Plugin: id of the connection by which a task gets its token. No other connection of that id is seen.",
    )
    ttl_s: int = Field(
        default=300, ge=30, le=3600, description="Plugin: lifetime of the token in that connection, in seconds."
    )
    url: str = Field(
        default="",
        pattern=r"^(https?://[^\s/?#@]+(/[^\s?#]*)?)?$",
        description="Plugin: host of that connection; empty: the address at which the worker reached the API server.",
    )
    audience: Values = Field(
        default=[EXECUTION_AUDIENCE],
        min_length=1,
        description="Gateway: `aud` of execution tokens, as Airflow's [execution_api] jwt_audience says.",
    )
    state_username: str = Field(
        default="", description="Gateway: account that asks Airflow whether a task is still running; it needs to read."
    )
