"""The configuration of `compat-auth serve`: built at the start, and again at each reload."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from compat_auth.app import Gateway
from compat_auth.cli.context import shape_log
from compat_auth.cli.diagnosis.checks import require_usable_files
from compat_auth.cli.front.nginx import Front, renew_nginx
from compat_auth.cli.serving.listeners import Listeners
from compat_auth.cli.serving.named_files import require_readable, watched_files
from compat_auth.composition.telemetry import Metrics, set_up_logs
from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.gateway.fast.protocol_choice import protocol_for
from compat_auth.gateway.server.server import Served, ServedMetrics
from compat_auth.gateway.server.tls import ServerTls
from compat_auth.gateway.service.file_watch import FileWatch
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.store.migration import require_known_tables

# What the listeners hang on, which stay open from the first configuration to the last.
_FIXED = ("serve.bind", "forward_auth.bind", "metrics.bind")
# Between two of them somebody may save a file that names other files.
_MOST_READS = 5


class Configuration:
    """Builds what is served.

    Args:
        read: Reads the settings as they are now.
        first: The settings of the start.
        watch: On their files; None: nobody watches them.
        listeners: The listeners, which all configurations share.
        config: The configuration file; None: there is none.
        nginx: Our own front proxy; None: there is none.
        warn: Called with what is wrong with the store and may be well again later.
    """

    def __init__(
        self,
        read: Callable[[], Settings],
        first: Settings,
        watch: FileWatch | None,
        listeners: Listeners,
        *,
        config: str | None,
        nginx: Front | None,
        warn: Callable[[str], None],
    ) -> None:
        self._read = read
        self._first = first
        self._watch = watch
        self._listeners = listeners
        self._config = config
        self._nginx = nginx
        self._warn = warn

    def build_first(self) -> Served:
        """Return the configuration of the start.

        Raises:
            CompatAuthError: It cannot be used; says what to change.
        """
        return self.build_from(self._first, self._watch)

    def build(self) -> Served:
        """Return the configuration as it is now.

        Raises:
            CompatAuthError: It cannot be used; says what to change.
        """
        settings, watch = read_and_watch(self._read, self._config)
        self._require_same_listeners(settings)
        served = self.build_from(settings, watch)
        if self._nginx is not None:
            return replace(served, take_over=renew_nginx(self._nginx, settings))
        return served

    def check(self) -> None:
        """Check the configuration as it is now, with every file that it names.

        Raises:
            CompatAuthError: It must not be used; says what to change.
        """
        settings = self._read()
        require_readable(settings)
        self.build()
        require_usable_files(settings)

    def build_from(self, settings: Settings, watch: FileWatch | None = None) -> Served:
        """Return the configuration that these settings are.

        Args:
            settings: The settings.
            watch: On their files; None: nobody watches them.

        Raises:
            CompatAuthError: It cannot be used; says what to change.
        """
        tls = ServerTls.from_settings(settings) if self._nginx is None else None
        settings = self._listeners.adjusted(settings)
        app = Gateway(settings, lane_secret="" if self._nginx is None else self._nginx.lane_secret)
        self._require_known_tables(settings)

        def restore() -> None:
            set_up_logs(settings)
            shape_log(settings.log.format)

        shape_log(settings.log.format)
        return Served(
            app,
            settings.serve,
            is_proxy=TrustedProxies(settings.trusted_proxies).covers,
            tls=tls,
            protocol=protocol_for(app.fast_paths),
            metrics=self._metrics(app.metrics),
            watch=watch,
            restore=restore,
        )

    def _require_same_listeners(self, settings: Settings) -> None:
        for name in _FIXED:
            before, now = (_value(each, name) for each in (self._first, settings))
            if before != now:
                raise ConfigError(
                    f"{name}: cannot change while the gateway serves (from {before or 'none'!r} to {now or 'none'!r});"
                    " restart the service, or set it back"
                )
        if self._nginx is None:
            return
        if _secret(self._first) != _secret(settings):
            raise ConfigError(
                "forward_auth.secret: cannot change while nginx serves with --front; restart the service, or set it back"
            )

    def _metrics(self, metrics: Metrics | None) -> ServedMetrics | None:
        if metrics is None or self._listeners.metrics is None:
            return None
        return ServedMetrics(metrics.process, metrics.surroundings, self._listeners.metrics)

    def _require_known_tables(self, settings: Settings) -> None:
        """Check that this version knows the tables; an unavailable database may come back while we serve.

        Raises:
            ConfigError: The tables belong to a newer version.
        """
        try:
            require_known_tables(settings.database_url.get_secret_value())
        except BackendUnavailable as error:
            self._warn(f"{error}; until it is available, requests that need it get 503")


def read_and_watch(read: Callable[[], Settings], config: str | None) -> tuple[Settings, FileWatch | None]:
    """Return the settings as they are now, and a watch on their files that began before they were read, if they want one.

    Args:
        read: Reads the settings.
        config: The configuration file; None: there is none.

    Raises:
        ConfigError: They cannot be read.
    """
    settings, watch = read(), None
    for _ in range(_MOST_READS if settings.serve.watch else 0):
        files = watched_files(settings, config, os.environ)
        watch = FileWatch(files)
        settings = read()
        if watched_files(settings, config, os.environ) == files:
            break
    return settings, watch if settings.serve.watch else None


def _value(settings: Settings, name: str) -> str:
    section, _, key = name.partition(".")
    return str(getattr(getattr(settings, section), key))


def _secret(settings: Settings) -> str:
    return settings.forward_auth.secret.get_secret_value()
