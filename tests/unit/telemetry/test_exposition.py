"""What Prometheus reads: both text formats, and the page that lists the metrics."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from compat_auth.errors import ConfigError
from compat_auth.telemetry import counts
from compat_auth.telemetry.counts import Snapshot
from compat_auth.telemetry.exposition import expose, require_library
from compat_auth.telemetry.families import BUCKETS_S, FAMILIES

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| `(compat_auth_\w+)` \| (\w+) \| ((?:`\w+`(?:, )?)*) ?\| (.+) \|$", re.MULTILINE)
# Its own functions have no types.
parse_text: Any = importlib.import_module("prometheus_client.parser").text_string_to_metric_families
parse_openmetrics: Any = importlib.import_module("prometheus_client.openmetrics.parser").text_string_to_metric_families
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def everything() -> Snapshot:
    """Return one series of every family."""
    return {
        family.name: {
            tuple(f"the {label}" for label in family.labels): [1.0] * (len(BUCKETS_S) + 2)
            if family.kind == "histogram"
            else [1.0]
        }
        for family in FAMILIES
    }


def test_every_metric_is_exposed_with_its_type_and_labels() -> None:
    text, media_type = expose(everything(), "")

    parsed = {family.name: family for family in parse_text(text.decode())}

    assert media_type.startswith("text/plain")
    assert len(parsed) == len(FAMILIES)
    for family in FAMILIES:
        found = parsed[f"compat_auth_{family.name}"]
        assert (found.type, found.documentation) == (family.kind, family.meaning)
        assert set(found.samples[0].labels) - {"le"} == set(family.labels)


def test_openmetrics_is_sent_to_a_scrape_that_asks_for_it() -> None:
    text, media_type = expose(everything(), OPENMETRICS)

    parsed = list(parse_openmetrics(text.decode()))

    assert media_type.startswith("application/openmetrics-text")
    assert len(parsed) == len(FAMILIES)


def test_the_buckets_of_a_histogram_are_cumulative_and_end_with_the_count() -> None:
    numbers: Snapshot = {"stage_seconds": {("decision",): [2.0, 3.0, *([0.0] * (len(BUCKETS_S) - 2)), 1.0, 9.5]}}

    text = expose(numbers, "")[0].decode()

    assert 'compat_auth_stage_seconds_bucket{le="0.0005",stage="decision"} 2.0' in text
    assert 'compat_auth_stage_seconds_bucket{le="0.001",stage="decision"} 5.0' in text
    assert 'compat_auth_stage_seconds_bucket{le="+Inf",stage="decision"} 6.0' in text
    assert 'compat_auth_stage_seconds_count{stage="decision"} 6.0' in text
    assert 'compat_auth_stage_seconds_sum{stage="decision"} 9.5' in text


def test_a_label_cannot_forge_a_line() -> None:
    numbers: Snapshot = {"refusals": {('x"} 1\nforged 1\n',): [1.0]}}

    text = expose(numbers, "")[0].decode()

    assert not any(line.startswith("forged") for line in text.splitlines())


def test_the_page_lists_exactly_the_metrics_that_exist() -> None:
    listed = {name: (kind, labels.replace("`", ""), meaning) for name, kind, labels, meaning in _ROW.findall(PAGE)}

    assert listed == {family.full_name: (family.kind, ", ".join(family.labels), family.meaning) for family in FAMILIES}


def test_every_value_of_a_fixed_label_is_on_the_page() -> None:
    fixed = {"fast", "application", "fast_forward_auth", "hit", "miss", "none", "2xx", "decision", "upstream"}

    shown = {value for series in counts.snapshot().values() for labels in series for value in labels}

    assert fixed <= shown
    assert all(f"`{value}`" in PAGE for value in ("fast", "application", "fast_forward_auth", "none", "2xx", "hung"))


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(ConfigError, match=r"metrics\.bind: prometheus_client is not installed; .*extra 'metrics'"):
        require_library()
