"""Writes the metrics in the text formats of Prometheus and OpenMetrics, with prometheus_client."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from compat_auth.errors import ConfigError
from compat_auth.telemetry.counts import Labels, Snapshot
from compat_auth.telemetry.families import BUCKETS_S, FAMILIES, PREFIX, Family

if TYPE_CHECKING:
    from prometheus_client import Metric

_BOUNDS = (*(str(bound) for bound in BUCKETS_S), "+Inf")


def require_library() -> None:
    """Check that prometheus_client is installed.

    Raises:
        ConfigError: It is not.
    """
    if importlib.util.find_spec("prometheus_client") is None:
        raise ConfigError(
            "metrics.bind: prometheus_client is not installed; install compat_auth with its extra 'metrics' (README:"
            " Install), or remove metrics.bind"
        )


class _Collector:
    """The numbers of one scrape."""

    def __init__(self, numbers: Snapshot) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        """Yield the families that have a series."""
        for family in FAMILIES:
            series = self._numbers.get(family.name)
            if series:
                yield _metric(family, sorted(series.items()))


def _metric(family: Family, series: Iterable[tuple[Labels, list[float]]]) -> Metric:
    # Loaded only where it is used: it is an extra.
    core = importlib.import_module("prometheus_client.core")
    name, meaning, labels = PREFIX + family.name, family.meaning, family.labels
    if family.kind == "histogram":
        histogram = core.HistogramMetricFamily(name, meaning, labels=labels)
        for values, numbers in series:
            *counts, total = numbers
            histogram.add_metric(values, [*zip(_BOUNDS, accumulate(counts), strict=True)], total)
        return histogram  # type: ignore[no-any-return]  # loaded by name
    kind = core.CounterMetricFamily if family.kind == "counter" else core.GaugeMetricFamily
    metric = kind(name, meaning, labels=labels)
    for values, numbers in series:
        metric.add_metric(values, numbers[0])
    return metric  # type: ignore[no-any-return]  # loaded by name


def expose(numbers: Snapshot, accept: str) -> tuple[bytes, str]:
    """Return the text and its media type.

    Args:
        numbers: The numbers of all workers.
        accept: The Accept header of the scrape; "" for none.
    """
    client = importlib.import_module("prometheus_client")
    exposition = importlib.import_module("prometheus_client.exposition")
    registry = client.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(numbers))
    encode, media_type = exposition.choose_encoder(accept)
    return encode(registry), media_type
