"""The dashboard and the alert rules use metrics that exist, with labels that they have; promtool accepts the rules."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compat_auth.telemetry.families import FAMILIES

# It has no types.
yaml: Any = importlib.import_module("yaml")
FOLDER = Path(__file__).parents[3] / "deploy" / "monitoring"
_NAME = re.compile(r"\bcompat_auth_\w+")
_SELECTOR = re.compile(r"(compat_auth_\w+)\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
# Prometheus itself adds these.
_OF_SCRAPE = {"instance", "job", "le"}


def series() -> dict[str, set[str]]:
    """Return the labels of each series that Prometheus has."""
    found: dict[str, set[str]] = {}
    for family in FAMILIES:
        ends = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        found |= {family.full_name + end: {*family.labels} for end in ends}
    return found


def alerts() -> Iterator[tuple[str, dict[str, Any]]]:
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule


def expressions() -> dict[str, str]:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    shown = {
        f"{panel['title']} {target['refId']}": str(target["expr"])
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    return {**shown, **{name: str(rule["expr"]) for name, rule in alerts()}}


EXPRESSIONS = expressions()


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_uses_metrics_and_labels_that_exist(name: str) -> None:
    known = series()

    used = set(_NAME.findall(EXPRESSIONS[name]))

    assert used
    assert used <= known.keys()
    for metric, selector in _SELECTOR.findall(EXPRESSIONS[name]):
        assert set(_LABEL.findall(selector)) <= known[metric] | _OF_SCRAPE, metric


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    text = " ".join(EXPRESSIONS.values())

    unused = [family.full_name for family in FAMILIES if family.full_name not in text]

    assert unused == []


def test_every_alert_says_what_and_what_to_do() -> None:
    rules = dict(alerts())

    assert len(rules) > 10
    for name, rule in rules.items():
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        assert rule["annotations"]["summary"], name
        assert rule["annotations"]["action"], name


def test_no_panel_covers_another() -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))["panels"]

    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def promtool() -> str:
    found = shutil.which("promtool")
    assert found is not None, "promtool is missing: ./test installs Debian's prometheus"
    return found


def test_promtool_accepts_the_rules() -> None:
    command = [promtool(), "check", "rules", "--lint-fatal", str(FOLDER / "alerts.yml")]

    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


def test_an_alert_fires_where_it_should(tmp_path: Path) -> None:
    inputs = {
        'compat_auth_upstream_up{instance="a"}': "1x5 0x20",
        'compat_auth_database_up{instance="a"}': "1x5 0x20",
        'compat_auth_audit_lines_lost_total{instance="a"}': "0x5 3x20",
        'compat_auth_build_info{instance="a"}': "1x25",
        'compat_auth_decisions_total{instance="a",backend="",outcome="unavailable",source="chain"}': "0+6x25",
    }
    expected = {
        "CompatAuthUpstreamAway",
        "CompatAuthStoreAway",
        "CompatAuthAuditLinesLost",
        "CompatAuthBackendAway",
    }
    silent = {"CompatAuthDown", "CompatAuthRedisAway", "CompatAuthWorkerHung"}
    case = {
        "rule_files": [str(FOLDER / "alerts.yml")],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in inputs.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
                        "eval_time": "12m",
                        "exp_samples": [{"labels": "{}", "value": int(name in expected)}],
                    }
                    for name in (*expected, *silent)
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(case), encoding="utf-8")

    result = subprocess.run(
        [promtool(), "test", "rules", str(tmp_path / "test.yml")], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stdout + result.stderr
