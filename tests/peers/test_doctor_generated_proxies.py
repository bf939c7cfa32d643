"""`compat-auth doctor --probe` finds nothing wrong with the configurations that `compat-auth proxy-config` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from compat_auth.cli import commands
from support.peers.generated import PROXIES, USERS, Site, running_site, start

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.mark.parametrize("name", PROXIES)
def test_nothing_gets_through_a_generated_configuration(
    name: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    front = start(name, site, tmp_path)
    arguments = ["--probe", front.url, "--probe-path", "/api/x", "-u", f"alice:{USERS['alice']}"]
    try:
        result = CliRunner().invoke(commands, ["doctor", "--json", *arguments])
    finally:
        front.process.stop()

    found = json.loads(result.stdout)
    assert [one for one in found if not one["ok"]] == []
    assert result.exit_code == 0
    assert found[-1]["status"] == "ok"
