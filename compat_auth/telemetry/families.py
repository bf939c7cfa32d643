"""The metrics: their names, types, labels and meaning. docs/reference/metrics.md lists them.

A label's value comes from the configuration or from our code, never from a request: the number of series is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "compat_auth_"
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of a histogram's buckets, in seconds; one more bucket has no bound."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        name: Without `compat_auth_`, and without the `_total` of a counter.
        kind: Type in Prometheus.
        meaning: What it says, one sentence.
        labels: Names of its labels.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name of its series, for a histogram without `_bucket`, `_sum` and `_count`."""
        return f"{PREFIX}{self.name}_total" if self.kind == "counter" else f"{PREFIX}{self.name}"


DECISIONS = Family(
    "decisions",
    "counter",
    "Decisions about a credential, by backend, outcome, and whether the chain or the cache decided.",
    ("backend", "outcome", "source"),
)
REQUESTS = Family(
    "requests",
    "counter",
    "Requests that were answered, by the way they took and the class of the status.",
    ("way", "status"),
)
REFUSALS = Family("refusals", "counter", "Requests that compat_auth refused itself, by reason.", ("reason",))
CACHE_LOOKUPS = Family("cache_lookups", "counter", "Look-ups in a cache, by result.", ("cache", "result"))
LANE_ANSWERS = Family("lane_answers", "counter", "Answers of the lane to a front proxy.", ("answer",))
UPSTREAM_RESPONSES = Family(
    "upstream_responses", "counter", "Answers of the upstream, by the class of the status.", ("status",)
)
UPSTREAM_FAILURES = Family(
    "upstream_failures", "counter", "Calls to the upstream without a whole answer, by reason.", ("reason",)
)
AUDIT_LINES_LOST = Family("audit_lines_lost", "counter", "Lines of the audit log that could not be written.")
USAGE_FOLDED = Family(
    "usage_folded", "counter", "Requests counted in the usage without user and operation, since memory was full."
)
STAGE_SECONDS = Family(
    "stage_seconds",
    "histogram",
    "Duration of a stage: decision (a check by the chain, with its wait for a thread), upstream (until the head of the"
    " answer), request (the whole request).",
    ("stage",),
)
LANE_THREADS = Family("threads", "gauge", "Threads for blocking work, by lane.", ("lane",))
LANE_BUSY = Family("threads_busy", "gauge", "Threads that work, by lane.", ("lane",))
LANE_QUEUE = Family("queue_length", "gauge", "Requests that wait for a thread, by lane.", ("lane",))
CONNECTIONS = Family("connections", "gauge", "Open connections of clients.")
UPSTREAM_CONNECTIONS = Family(
    "upstream_connections", "gauge", "Connections of the fast protocol to the upstream, by state.", ("state",)
)
CACHE_ENTRIES = Family("cache_entries", "gauge", "Entries in a cache.", ("cache",))
WORKERS = Family("workers", "gauge", "Workers of this replica, by state.", ("state",))
BUILD_INFO = Family("build_info", "gauge", "Always 1; the labels say which version runs.", ("version", "python"))
SCRAPE_ERRORS = Family("scrape_errors", "gauge", "Values that could not be found out for this scrape.")
DATABASE_UP = Family("database_up", "gauge", "1 while the store accepts writes, else 0.")
REDIS_UP = Family("redis_up", "gauge", "1 while Redis answers, else 0; missing without redis_url.")
UPSTREAM_UP = Family("upstream_up", "gauge", "1 while the upstream accepts connections, else 0.")
KEY_AGE = Family("signing_key_age_seconds", "gauge", "Age of the newest key in token.key_file; missing without one.")
KEYTAB_AGE = Family("keytab_age_seconds", "gauge", "Seconds since the keytab was last written; missing without one.")
TOKENS_EXPIRING = Family(
    "personal_tokens_expiring", "gauge", "Personal tokens in use that expire within 7 days; missing without a store."
)
CERTIFICATE_LEFT = Family(
    "certificate_expires_seconds", "gauge", "Seconds until serve.tls_cert expires; missing without one."
)
CONFIG_RELOADED = Family(
    "config_last_reload_successful", "gauge", "0 after a reload of the configuration that failed, else 1."
)
CONFIG_LOADED = Family(
    "config_last_reload_success_timestamp_seconds",
    "gauge",
    "When the configuration that serves was loaded, in seconds since the epoch.",
)
CONFIG_GENERATION = Family(
    "config_generation", "gauge", "Number of the configuration that serves: 1 since the start, 2 after one reload."
)

FAMILIES: tuple[Family, ...] = (
    DECISIONS,
    REQUESTS,
    REFUSALS,
    CACHE_LOOKUPS,
    LANE_ANSWERS,
    UPSTREAM_RESPONSES,
    UPSTREAM_FAILURES,
    AUDIT_LINES_LOST,
    USAGE_FOLDED,
    STAGE_SECONDS,
    LANE_THREADS,
    LANE_BUSY,
    LANE_QUEUE,
    CONNECTIONS,
    UPSTREAM_CONNECTIONS,
    CACHE_ENTRIES,
    WORKERS,
    BUILD_INFO,
    SCRAPE_ERRORS,
    DATABASE_UP,
    REDIS_UP,
    UPSTREAM_UP,
    KEY_AGE,
    KEYTAB_AGE,
    TOKENS_EXPIRING,
    CERTIFICATE_LEFT,
    CONFIG_RELOADED,
    CONFIG_LOADED,
    CONFIG_GENERATION,
)
"""All metrics."""
