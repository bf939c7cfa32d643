"""Builds the metrics of a process from its settings and objects."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from cryptography import x509

from compat_auth.audit.file import set_up_audit
from compat_auth.composition.decider import Core
from compat_auth.config import Settings
from compat_auth.gateway.fast.fast_paths import FastPaths
from compat_auth.gateway.telemetry.scrape import Part, ProcessNumbers, Surroundings, Value, is_up, on_thread
from compat_auth.store.readiness import StoreReadiness
from compat_auth.store.redis.client import RedisConnection
from compat_auth.telemetry import access_log, families, tracing
from compat_auth.telemetry.exposition import require_library
from compat_auth.tokens.keys.key_file import read_key_file

_SOON_S = 7 * 86400


def set_up_logs(settings: Settings) -> None:
    """Set how this process writes its audit log and its access log, and whether it makes spans.

    Raises:
        ConfigError: See `set_up_audit` and `Tracer`.
    """
    audit = settings.audit
    set_up_audit(
        file=audit.file,
        event_format=audit.format,
        chain_key=audit.chain_key.get_secret_value(),
        may_refuse=audit.when_full == "refuse",
    )
    access_log.OPTIONS.is_on = settings.log.access
    tracing.OPTIONS.tracer = tracing.Tracer() if settings.tracing.enabled else None


class Metrics:
    """The metrics of one process, or of the workers that are forked from it.

    Args:
        settings: The settings; `metrics.bind` is not empty.
        core: Decides.
        upstream: Raises CompatAuthError if the upstream accepts no connection; None: it is this process itself.
        fast_paths: Requests that the server answers by itself; None: there are none.

    Attributes:
        process: The numbers of this process.
        surroundings: The values that are the same for all workers.

    Raises:
        ConfigError: prometheus_client is not installed.
    """

    def __init__(
        self,
        settings: Settings,
        core: Core,
        upstream: Callable[[], Awaitable[None]] | None = None,
        fast_paths: FastPaths | None = None,
    ) -> None:
        require_library()
        self.process = ProcessNumbers((_lanes(core), _caches(core), *_pools(fast_paths)))
        self.surroundings = Surroundings(_values(settings, core, upstream))

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        core: Core,
        upstream: Callable[[], Awaitable[None]] | None = None,
        fast_paths: FastPaths | None = None,
    ) -> Metrics | None:
        """Return the metrics; None where they are off."""
        return cls(settings, core, upstream, fast_paths) if settings.metrics.bind else None


def _lanes(core: Core) -> Part:
    return lambda: [
        number
        for name, queue in core.decider.lanes.queues()
        for number in (
            (families.LANE_THREADS, (name,), queue.places),
            (families.LANE_BUSY, (name,), min(queue.present, queue.places)),
            (families.LANE_QUEUE, (name,), max(0, queue.present - queue.places)),
        )
    ]


def _caches(core: Core) -> Part:
    return lambda: [(families.CACHE_ENTRIES, ("grants",), core.decider.remembered)]


def _pools(fast_paths: FastPaths | None) -> tuple[Part, ...]:
    errands = None if fast_paths is None else fast_paths.errands
    if errands is None:
        return ()
    return (
        lambda: [(families.UPSTREAM_CONNECTIONS, (state,), number) for state, number in errands.pool.states().items()],
    )


def _values(settings: Settings, core: Core, upstream: Callable[[], Awaitable[None]] | None) -> dict[str, Value]:
    values: dict[str, Value] = {families.DATABASE_UP.name: is_up(StoreReadiness(core.denylist.rows).require)}
    if upstream is not None:
        values[families.UPSTREAM_UP.name] = is_up(upstream)
    if url := settings.redis_url.get_secret_value():
        connection = RedisConnection(url)
        values[families.REDIS_UP.name] = is_up(_on_thread(lambda: connection.insist(_ping)))
    if file := settings.token.key_file:
        values[families.KEY_AGE.name] = on_thread(lambda: _key_age_s(Path(file)))
    if keytab := settings.kerberos.keytab:
        values[families.KEYTAB_AGE.name] = on_thread(lambda: time.time() - Path(keytab).stat().st_mtime)
    if certificate := settings.serve.tls_cert:
        values[families.CERTIFICATE_LEFT.name] = on_thread(lambda: _certificate_left_s(Path(certificate)))
    tokens = core.personal_tokens
    if tokens is not None:
        values[families.TOKENS_EXPIRING.name] = on_thread(lambda: _expiring(core))
    return values


def _on_thread(work: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    """Return a requirement that is checked on a thread."""
    find = on_thread(work)

    async def require() -> None:
        await find()

    return require


def _ping(client: object) -> None:
    client.ping()  # type: ignore[attr-defined]  # redis-py is loaded by name


def _key_age_s(file: Path) -> float | None:
    created = [key.created for key in read_key_file(file).keys]
    return time.time() - max(created) if created else None


def _certificate_left_s(file: Path) -> float:
    first, *_ = x509.load_pem_x509_certificates(file.read_bytes())
    return first.not_valid_after_utc.timestamp() - time.time()


def _expiring(core: Core) -> float | None:
    tokens = core.personal_tokens
    if tokens is None or not core.denylist.rows.is_there:
        return None
    now = int(time.time())
    return float(tokens.rows.count_expiring(now, before=now + _SOON_S))
