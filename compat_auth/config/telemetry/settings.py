"""Settings of metrics, the log, the audit log, traces and the usage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from compat_auth.config.fields import Section, Values, read_truth


class MetricsSettings(Section):
    """Metrics for Prometheus, on a listener of their own."""

    bind: str = Field(
        default="",
        pattern=r"^((\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5})?$",
        description="Address and port of a listener that answers only /metrics, such as 127.0.0.1:9187; empty: off.",
    )


class LogSettings(Section):
    """The log of `serve`. Inside Airflow, the log is Airflow's; only `access` counts there."""

    format: Literal["text", "json"] = Field(
        default="text", description="Lines for people, or one JSON object a line for a log collector."
    )
    access: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=False,
        description="Write one line for each request, on the logger compat_auth.access: without the query, without headers.",
    )


class AuditSettings(Section):
    """The audit log."""

    when_full: Literal["continue", "refuse"] = Field(
        default="continue",
        description="What `serve` does while the log cannot be written, such as on a full disk: continue and count the"
        " lost lines, or answer every request with 503.",
    )
    file: str = Field(
        default="",
        description="File that also gets the audit log, one event a line; empty: none. A file that was moved away is"
        " opened again.",
    )
    format: Literal["json", "cloudevents"] = Field(
        default="json", description="Each event as a plain JSON object, or as a CloudEvent in JSON."
    )
    chain_key: SecretStr = Field(
        default=SecretStr(""),
        description="Key of the hash chain through the audit log, at least 32 characters, for `compat-auth audit verify`;"
        " empty: hashes without a key.",
    )


class TracingSettings(Section):
    """Traces with OpenTelemetry."""

    enabled: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=False,
        description="Make spans with OpenTelemetry, whose exporter the environment configures; every request then takes"
        " the ordinary way.",
    )


class UsageSettings(Section):
    """Counts of requests by day, user, backend, client and operation; for the report."""

    enabled: Annotated[bool, BeforeValidator(read_truth)] = Field(
        default=True, description="Count requests by user, backend, client, address range and operation in the store."
    )
    retention_days: int = Field(
        default=730, ge=1, le=3660, description="Days after which the counts of a day are deleted."
    )
    admins: Values = Field(
        default=[],
        description="Who may read the report in a browser: role:NAME, group:NAME, user:NAME, …; any one of them; empty:"
        " personal_tokens.admins.",
    )
    flush_s: int = Field(default=10, ge=1, le=600, description="Seconds between two writes of a process to the store.")
