"""The settings of the simplest gateway, from the URL of an Airflow alone: it exchanges passwords there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compat_auth.cli.diagnosis.upstream_probe import UpstreamProbe
from compat_auth.config import Settings
from compat_auth.config.loading import merge, parse_settings, read_variables
from compat_auth.errors import CompatAuthError

ORIGIN = "--airflow-url"
# FabAuthManager alone has it, and answers 401 to a caller without credentials.
_FAB_QUESTION = "/auth/fab/v1/users?limit=1"
_MANAGERS = {"airflow-fab": "FabAuthManager", "airflow-simple": "another auth manager than FAB's"}


@dataclass(frozen=True, slots=True)
class SimplestSetup:
    """The Airflow that was found, and the settings to serve it.

    Attributes:
        settings: The settings.
        version: The version of the Airflow.
    """

    settings: Settings
    version: str

    @property
    def summary(self) -> str:
        """One line that says how the gateway works."""
        upstream = self.settings.upstream
        return (
            f"Airflow {self.version} with {_MANAGERS[upstream.profile]} at {upstream.url}: each user name and password "
            "is exchanged there for Airflow's own token"
        )


def find_setup(url: str, database_url: str, environ: Mapping[str, str]) -> SimplestSetup:
    """Return the set-up for the Airflow at a URL; the environment's settings come before ours.

    Args:
        url: Base URL of Airflow's API server.
        database_url: Where revocations are kept.
        environ: The environment.

    Raises:
        ConfigError: The URL is not that of an Airflow 3 that accepts passwords.
        UpstreamTimeout, UpstreamUnreachable: Nothing answers there now.
    """
    settings = _settings(url, "airflow-fab", database_url, environ)
    try:
        probe = UpstreamProbe.from_settings(settings)
        probe.connect()
        version = probe.version()
        probe.require_login()
        is_fab = probe.ask("GET", _FAB_QUESTION).status == 401
    except CompatAuthError as error:
        raise type(error)(str(error).replace("upstream.url", ORIGIN)) from None
    if not is_fab:
        settings = _settings(url, "airflow-simple", database_url, environ)
    return SimplestSetup(settings, version)


def _settings(url: str, profile: str, database_url: str, environ: Mapping[str, str]) -> Settings:
    content: dict[str, object] = {
        "auth_backends": ["basic_auth"],
        "database_url": database_url,
        "basic_auth": {"directories": ["upstream"]},
        "token": {"strategy": "exchange"},
    }
    merge(content, read_variables(environ))
    # Last, so that no variable makes another upstream of the one on the command line.
    merge(content, {"upstream": {"url": url.rstrip("/"), "profile": profile}})
    return parse_settings(content, origin=ORIGIN, variables=environ)
