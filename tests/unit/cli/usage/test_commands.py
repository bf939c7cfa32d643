"""`compat-auth report` and `compat-auth tokens suggest`, as an operator runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.identity import Identity
from compat_auth.store.migration import open_store
from compat_auth.store.tables.usage import UsageRows
from compat_auth.usage.recorder import UsageRecorder

NAME = "a\x9b2J\u202eb"


@pytest.fixture
def config(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    path = tmp_path / "compat_auth.toml"
    path.write_text(f'database_url = "{url}"\n', encoding="utf-8")
    database = open_store(url)
    with database.write():
        pass
    recorder = UsageRecorder(UsageRows(database))
    for name in (NAME, "bob", "bob"):
        recorder.count("GET", "/api/v1/dags", identity=Identity(name, "basic_auth"), agent=b"curl/8")
    recorder.flush()
    database.close()
    return str(path)


def run(config: str, *arguments: str) -> Result:
    return CliRunner().invoke(commands, [*arguments, "--config", config], catch_exceptions=False)


@pytest.mark.parametrize(
    "arguments", [("report", "--json"), ("tokens", "suggest", "--user", NAME, "--json")], ids=["report", "suggest"]
)
def test_json_is_harmless_to_a_terminal(arguments: tuple[str, ...], config: str) -> None:
    shown = run(config, *arguments).stdout

    assert "202e" in shown
    assert shown.isascii()


def test_a_table_that_is_cut_says_so(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(config, "report", "--csv")
    monkeypatch.setattr("compat_auth.cli.usage.command.MAX_EXPORTED", 1)

    cut = run(config, "report", "--csv")

    assert (whole.stderr, len(whole.stdout.splitlines())) == ("", 3)
    assert "incomplete: only the 1 most frequent" in cut.stderr
    assert [line.partition(",")[0] for line in cut.stdout.splitlines()] == ['"principal"', '"bob"']
