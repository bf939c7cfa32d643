"""`compat-auth stages`, as an operator runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.config import load_settings
from compat_auth.errors import InvalidValue
from compat_auth.identity import Identity
from compat_auth.stages.choice import Use
from compat_auth.stages.enforcement import Stages
from compat_auth.store.migration import open_store
from compat_auth.store.tables.stage_rules import StageRow, StageRuleRows
from compat_auth.store.tables.usage import UsageRows
from compat_auth.usage.recorder import UsageRecorder

USE = Use("basic_auth", "alice", ("GET",), "/api/v2/dags")


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "compat_auth.toml"
    path.write_text(
        f'database_url = "sqlite:///{tmp_path / "store.db"}"\n[stages]\npage = "https://wiki.example.org/logins"\n',
        encoding="utf-8",
    )
    return str(path)


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[StageRuleRows]:
    found = StageRuleRows(open_store(f"sqlite:///{tmp_path / 'store.db'}"))
    yield found
    found.close()


def run(config: str, *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["stages", *arguments, "--config", config], catch_exceptions=False)


def listed(config: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run(config, "list", "--json").output)
    return found


def test_without_a_store_there_are_no_rules_and_none_is_made(config: str, tmp_path: Path) -> None:
    assert listed(config) == []
    assert run(config, "list").output == ""
    assert not (tmp_path / "store.db").exists()


def test_a_rule_that_is_set_is_listed(config: str) -> None:
    run(config, "set", "warn", "--backend", "basic_auth", "--deprecated", "2026-12-01", "--sunset", "2099-03-31")
    run(config, "set", "brownout", "--backend", "kerberos", "--window", "weekly mon 09:00 1h", "--status", "401")

    first, second = listed(config)

    assert first == {
        "backend": "basic_auth",
        "operation": None,
        "principal": None,
        "stage": "warn",
        "until": None,
        "deprecated": "2026-12-01T00:00:00Z",
        "sunset": "2099-03-31T00:00:00Z",
        "windows": [],
        "next_window": None,
        "status": None,
        "per_minute": None,
        "changed_at": first["changed_at"],
        "changed_by": first["changed_by"],
    }
    assert first["changed_by"]
    assert (second["windows"], second["status"]) == (["weekly mon 09:00:00 3600s"], 401)
    assert run(config, "list").output.splitlines() == [
        "backend 'basic_auth': warn; sunset 2099-03-31T00:00:00Z",
        "backend 'kerberos': brownout; 401 in weekly mon 09:00:00 3600s",
    ]


def test_a_rule_replaces_an_earlier_one_for_the_same_uses(config: str) -> None:
    run(config, "set", "warn", "--backend", "basic_auth", "--operation", "GET:/api/v1/dags")
    run(config, "set", "throttle", "--backend", "basic_auth", "--operation", "GET /api/v1/dags", "--per-minute", "3")

    assert [(rule["stage"], rule["operation"], rule["per_minute"]) for rule in listed(config)] == [
        ("throttle", "GET /api/v1/dags", 3)
    ]


def test_a_removed_rule_no_longer_applies(config: str) -> None:
    run(config, "set", "off", "--backend", "basic_auth", "--principal", "alice")

    removed = run(config, "remove", "--backend", "basic_auth", "--principal", "alice")

    assert (removed.exit_code, listed(config)) == (0, [])
    with pytest.raises(InvalidValue, match="no such rule"):
        run(config, "remove", "--backend", "basic_auth")


def test_a_change_is_in_the_audit_log(config: str, caplog: pytest.LogCaptureFixture) -> None:
    shown = run(config, "set", "off", "--backend", "basic_auth").stderr

    said = shown + "".join(record.getMessage() for record in caplog.records)
    assert "stage set" in said
    assert "backend 'basic_auth': off (was on)" in said


def test_a_process_that_runs_sees_the_change(config: str, rows: StageRuleRows) -> None:
    stages = Stages.from_settings(load_settings(config), ())
    before = stages.memory.current()

    run(config, "set", "warn", "--backend", "basic_auth", "--deprecated", "2026-12-01")
    stages.memory.refresh()
    warned = stages.judge(stages.memory.current(), USE)
    run(config, "remove", "--backend", "basic_auth")
    stages.memory.refresh()

    assert before.rules == stages.memory.current().rules == ()
    assert dict(warned)["Deprecation"] == "@1796083200"
    assert "wiki.example.org" in dict(warned)["Link"]
    assert rows.list() == ()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        pytest.param(("off",), "at least one of", id="everything"),
        pytest.param(("dim", "--backend", "basic_auth"), "STAGE", id="no-stage"),
        pytest.param(("warn", "--backend", "x", "--per-minute", "0"), "per-minute", id="zero"),
    ],
)
def test_wrong_usage_is_refused(arguments: tuple[str, ...], word: str, config: str) -> None:
    refused = run(config, "set", *arguments)

    assert (refused.exit_code, word in refused.output) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        pytest.param(("brownout",), "window", id="no-window"),
        pytest.param(("brownout", "--window", "2020-01-01/2020-01-02"), "in the past", id="past-window"),
        pytest.param(("on", "--until", "2020-01-01"), "in the past", id="past-exception"),
        pytest.param(("throttle",), "per minute", id="no-number"),
        pytest.param(("warn", "--sunset", "2020-01-01"), "sunset", id="sunset-before-the-deprecation"),
        pytest.param(("warn", "--operation", "dags"), "operation", id="no-operation"),
        pytest.param(("warn", "--principal", "a" * 600), "too long", id="long-name"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(arguments: tuple[str, ...], word: str, config: str) -> None:
    with pytest.raises(InvalidValue, match=word):
        run(config, "set", *arguments, "--backend", "basic_auth")

    assert listed(config) == []


def test_a_backend_that_the_list_does_not_name_is_warned_of(config: str) -> None:
    shown = run(config, "set", "off", "--backend", "basic")

    assert "auth_backends has no 'basic'" in shown.stderr


def test_a_mark_tells_every_change_of_the_table(rows: StageRuleRows) -> None:
    one, other = StageRow("a", "", "", "off"), StageRow("b", "", "", "off", windows=((1, 2, 3),))
    marks: list[tuple[int, int]] = []

    for change in (
        lambda: rows.set(one),
        lambda: rows.set(other),
        lambda: rows.set(one),
        lambda: rows.remove("b", "", ""),
    ):
        change()
        read = rows.read(marks[-1] if marks else None)
        assert read is not None
        marks.append(read[0])
        assert rows.read(marks[-1]) is None

    assert len(set(marks)) == 4


@pytest.fixture
def used(tmp_path: Path) -> None:
    """Alice and a cron job have used passwords, and somebody a ticket; one front proxy has the lane."""
    database = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    with database.write():
        pass
    recorder = UsageRecorder(UsageRows(database))
    for name, backend, path in (
        ("alice", "basic_auth", "/api/v1/dags"),
        ("alice", "basic_auth", "/api/v2/dags"),
        ("cron\n\x1b[2J", "basic_auth", "/api/v1/dags/x"),
        ("kim", "kerberos", "/api/v1/dags"),
    ):
        recorder.count(
            "GET", path, identity=Identity(name, backend), agent=b"curl/8", address="192.0.2.1", is_refused=False
        )
    recorder.count_lane(Identity("bob", "basic_auth"), "192.0.2.2")
    recorder.flush()
    database.close()


def hit(config: str, *arguments: str) -> list[tuple[object, object]]:
    shown = run(config, "set", *arguments, "--dry-run", "--json")
    return sorted((one["principal"], one["operation"]) for one in json.loads(shown.output))


@pytest.mark.usefixtures("used")
def test_a_dry_run_says_who_would_be_hit_and_changes_nothing(config: str) -> None:
    found = hit(config, "off", "--backend", "basic_auth")

    assert found == [
        ("alice", "GET /api/v1/dags"),
        ("alice", "GET /api/v2/dags"),
        ("bob", "lane"),
        ("cron\n\x1b[2J", "GET /api/v1/dags/{dag_id}"),
    ]
    assert listed(config) == []


@pytest.mark.usefixtures("used")
def test_a_dry_run_knows_operations_and_exceptions(config: str) -> None:
    run(config, "set", "on", "--principal", "ALICE")

    found = hit(config, "off", "--operation", "v1")

    assert found == [("bob", "lane"), ("cron\n\x1b[2J", "GET /api/v1/dags/{dag_id}"), ("kim", "GET /api/v1/dags")]
    assert hit(config, "on", "--backend", "basic_auth") == []


@pytest.mark.usefixtures("used")
def test_a_dry_run_writes_no_control_character_to_the_terminal(config: str) -> None:
    shown = run(config, "set", "off", "--backend", "basic_auth", "--dry-run").output

    assert "\x1b" not in shown
    assert "3 user(s), 4 kind(s) of use" in shown
    assert len(shown.splitlines()) == 5


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["lines", "json"])
def test_a_dry_run_that_has_not_seen_all_says_so(
    form: tuple[str, ...], config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("set", "off", "--backend", "basic_auth", "--dry-run", *form)
    whole = run(config, *command)
    monkeypatch.setattr("compat_auth.cli.stages.commands.MAX_USES", 3)

    cut = run(config, *command)

    assert whole.stderr == ""
    assert "incomplete: only the 3 most frequent" in cut.stderr
    assert "incomplete" not in cut.stdout


@pytest.mark.usefixtures("used")
def test_json_has_nothing_that_moves_the_cursor_or_turns_the_text(config: str, tmp_path: Path) -> None:
    database = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    recorder = UsageRecorder(UsageRows(database))
    recorder.count("GET", "/api/v1/dags", identity=Identity("a\x9b2J\u202eb", "basic_auth"))
    recorder.flush()
    database.close()

    shown = [run(config, "set", "off", "--backend", "basic_auth", "--dry-run", "--json").stdout]
    run(config, "set", "warn", "--principal", "a\x9b2J\u202eb")
    shown.append(run(config, "list", "--json").stdout)

    assert [text.isascii() for text in shown] == [True, True]
    assert all("202e" in text for text in shown)


def test_a_dry_run_names_tokens_whose_operations_nobody_knows(config: str, tmp_path: Path) -> None:
    database = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    with database.write():
        pass
    recorder = UsageRecorder(UsageRows(database))
    recorder.count_upstreams("GET", "/api/v1/dags", status=None)
    recorder.flush()
    database.close()

    found = [hit(config, "off", "--operation", one) for one in ("GET /api/v1/dags", "v1", "POST /api/v1/dags", "/ui/")]

    assert found == [[(None, "GET /api/v1/")], [(None, "GET /api/v1/")], [], []]
