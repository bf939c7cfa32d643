"""Treatment of each path of Airflow 3: public, guarded, or passed. One table for the gateway and the plugin.

Tests compare it with the OpenAPI documents of a live Airflow, so that nobody overlooks a new public operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Treatment = Literal["public", "guarded", "passed", "token"]
"""public: forwarded without credentials if there is no `Authorization`, else guarded. guarded: needs authentication.
passed: forwarded with the caller's own cookies and `Authorization`. token: our token endpoint, and the upstream's."""

FAB_API = "/auth/fab/v1/"


@dataclass(frozen=True, slots=True)
class PathRule:
    """One line of the table.

    Attributes:
        path: A complete path; with a slash at the end, all paths below it.
        treatment: How requests are treated.
        reason: Why, for the documentation.
    """

    path: str
    treatment: Treatment
    reason: str

    def covers(self, path: str) -> bool:
        """Return whether the line applies to this path."""
        return path == self.path or (self.path.endswith("/") and path.startswith(self.path))


# The first line that covers a path applies.
TABLE = (
    PathRule("/api/v2/version", "public", "Airflow shows it to everybody"),
    PathRule("/api/v2/monitor/health", "public", "load balancers and orchestrators ask for it"),
    PathRule("/api/v2/auth/login", "passed", "a redirect to the login page of Airflow"),
    PathRule("/api/v2/auth/logout", "passed", "ends the login that the cookie carries, and redirects"),
    PathRule("/api/v2/auth/refresh", "passed", "Airflow before 3.2: a redirect to the auth manager"),
    PathRule("/api/", "guarded", "the public API"),
    PathRule(FAB_API, "guarded", "the API of FAB for users and roles"),
    PathRule("/auth/token", "token", "see [](../how-to/get-a-token.md)"),
    PathRule("/auth/token/cli", "token", "the same"),
    PathRule("/auth/", "passed", "pages of the auth manager, among them its login"),
    PathRule("/ui/", "passed", "the pages of Airflow, with the cookie of Airflow"),
    PathRule("/execution/", "passed", "tasks, with their own tokens; never an identity from compat_auth"),
    PathRule("/", "passed", "all else: pages and static files"),
)


def treatment_of(path: str) -> Treatment:
    """Return the treatment of requests for this path with the default settings."""
    return next(rule.treatment for rule in TABLE if rule.covers(path))


def whole_paths(treatment: Treatment, *, below: str) -> frozenset[bytes]:
    """Return the complete paths below a prefix that have this treatment."""
    return frozenset(
        rule.path.encode("ascii")
        for rule in TABLE
        if rule.treatment == treatment and rule.path.startswith(below) and not rule.path.endswith("/")
    )


def guarded_prefixes() -> list[str]:
    """Return the prefixes that need authentication."""
    return [rule.path for rule in TABLE if rule.treatment == "guarded"]


V1 = "/api/v1"
