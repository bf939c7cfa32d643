"""Asks everything: what `check` asks, and then each peer in depth, unless `check` has found it wrong already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from compat_auth.cli.diagnosis.checks import examine
from compat_auth.cli.diagnosis.configuration import read_configuration
from compat_auth.cli.doctor.airflow_settings import examine_airflow, find_airflow_cfg
from compat_auth.cli.doctor.files import examine_files
from compat_auth.cli.doctor.keys import examine_keys
from compat_auth.cli.doctor.peers.certificates import examine_certificates
from compat_auth.cli.doctor.peers.clocks import ask_ntp, describe_clock
from compat_auth.cli.doctor.peers.directories import examine_directory
from compat_auth.cli.doctor.peers.kerberos import examine_kerberos
from compat_auth.cli.doctor.peers.providers import examine_provider, providers_of
from compat_auth.cli.doctor.peers.stores import examine_database_clock, examine_redis, examine_schema
from compat_auth.cli.doctor.peers.upstream_keys import examine_upstream_keys
from compat_auth.cli.doctor.plugin import Plugin, read_plugin, set_up
from compat_auth.cli.doctor.result import Result
from compat_auth.cli.doctor.versions import examine_versions
from compat_auth.config import Settings, find_file
from compat_auth.errors import CompatAuthError

# Airflow's [api_auth] jwt_leeway is 10 s; Kerberos allows 300 s.
_NTP_LIMIT_S = 10
_ACCEPTED = "the upstream accepts our token"


@dataclass
class Examination:
    """One run; the settings are known once it has read them.

    Attributes:
        config_path: The file of `--config`, or None.
        airflow_cfg: The file of `--airflow-cfg`, or None.
        ntp: The server of `--ntp`, or None.
        environ: The environment.
        settings: None before the run, or if they are wrong.
        results: Those so far.
    """

    config_path: str | None
    airflow_cfg: str | None
    ntp: str | None
    environ: Mapping[str, str] = field(repr=False)
    settings: Settings | None = None
    results: list[Result] = field(default_factory=list[Result])

    def run(self) -> Iterator[Result]:
        """Yield the results as they come; each failure once."""
        for result in self._run():
            # A second result about a setting that has failed has the same cause.
            if result.status == "failure" and any(
                one.status == "failure" and one.where == result.where and one.id != result.id for one in self.results
            ):
                continue
            self.results.append(result)
            yield result

    def _run(self) -> Iterator[Result]:
        yield examine_versions()
        self.settings, findings = read_configuration(self.config_path)
        plugin = None
        if self.settings is None and find_file(self.config_path, self.environ) is None:
            plugin = read_plugin(find_airflow_cfg(None, self.airflow_cfg, self.environ), self.environ)
        if plugin is None:
            yield from map(Result.of_check, findings)
        if self.ntp is not None:
            server = self.ntp
            yield from _guarded("clock NTP", lambda: [_ntp(server)])
        if self.settings is not None:
            yield from self._ask_all(self.settings)
        elif plugin is not None:
            yield from self._ask_plugins_peers(plugin)
        yield from _guarded("airflow.cfg", self._airflow)

    def _ask_plugins_peers(self, plugin: Plugin) -> Iterator[Result]:
        if plugin.fault:
            yield Result.failure("configuration", plugin.fault)
            return
        self.settings = settings = plugin.settings
        yield Result.okay(
            "configuration", "the plugin in Airflow; only its API server can check the rest", plugin.place
        )
        if schema := examine_schema(settings):
            yield schema
        yield from self._ask_peers(settings)

    def _ask_all(self, settings: Settings) -> Iterator[Result]:
        if schema := examine_schema(settings):
            yield schema
        yield from map(Result.of_check, examine(settings))
        yield from self._then("keys", ["token"], lambda: examine_keys(settings))
        yield from self._then(
            "upstream keys", ["token", "upstream", "upstream token"], lambda: examine_upstream_keys(settings)
        )
        yield from self._ask_peers(settings)

    def _ask_peers(self, settings: Settings) -> Iterator[Result]:
        yield from self._then("clock database", ["database_url"], lambda: [examine_database_clock(settings)])
        if settings.redis_url.get_secret_value():
            yield from self._then("redis round trip", ["redis_url"], lambda: examine_redis(settings))
        else:
            yield Result.not_asked("redis round trip", "redis_url is not set")
        if settings.kerberos.keytab:
            yield from self._then("kerberos KDC", ["auth_backends"], lambda: examine_kerberos(settings))
        else:
            yield Result.not_asked("kerberos KDC", "kerberos.keytab is not set")
        for name in set_up(settings):
            about = f"directory {name}"
            yield from self._then(about, [about], partial(examine_directory, name, settings))
        yield from self._providers(settings)
        yield from self._then("certificates", [], lambda: examine_certificates(settings))
        said = " ".join(f"{one.where} {one.what} {one.next}" for one in self.results if one.status == "failure")
        yield from _guarded("files", lambda: examine_files(settings, self.config_path, self.environ, said))

    def _providers(self, settings: Settings) -> Iterator[Result]:
        providers = list(providers_of(settings))
        if not providers:
            yield Result.not_asked("jwks", "no backend has keys of a provider")

        for provider in providers:
            needs = ["auth_backends", f"backend {provider.backend}"]
            yield from self._then(f"jwks {provider.issuer}", needs, partial(examine_provider, provider))

    def _then(self, about: str, needs: list[str], ask: Callable[[], Iterable[Result]]) -> Iterator[Result]:
        """Yield the results of a question whose needs are fulfilled."""
        failed = {one.id for one in self.results if one.status == "failure"}
        if missing := failed.intersection(needs):
            yield Result.not_asked(about, f"{', '.join(sorted(missing))} is wrong; correct that first")
            return
        yield from _guarded(about, ask)

    def _airflow(self) -> Iterable[Result]:
        file = find_airflow_cfg(self.settings, self.airflow_cfg, self.environ)
        is_accepted = any(one.id == "upstream token" and one.what == _ACCEPTED for one in self.results)
        return examine_airflow(self.settings, file, self.environ, is_accepted=is_accepted)


def _ntp(server: str) -> Result:
    why = "Airflow rejects tokens from the future, and tokens end early"
    return describe_clock("clock NTP", ask_ntp(server), limit_s=_NTP_LIMIT_S, why=why)


def _guarded(about: str, ask: Callable[[], Iterable[Result]]) -> Iterator[Result]:
    """Yield the results; an error becomes one, so that the other questions are still asked."""
    try:
        yield from ask()
    except CompatAuthError as error:
        yield Result.failure(about, str(error))
    except Exception as error:  # noqa: BLE001  # a mistake of ours in one question must not hide the others
        # Only the class: a message may quote what was sent or received.
        text = f"the question itself failed ({type(error).__name__}), which is a mistake of compat_auth"
        yield Result(about, "warning", text, about, "report it, with the file of --bundle")
