"""`compat-auth migrate`: each old call gets its new address and login, or a reason why a person must look."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.cli.scripts.command import MUST_ACT
from compat_auth.errors import ConfigError

TOKEN = '-H "Authorization: Bearer $AIRFLOW_TOKEN"'
HEADERS = """headers={"Authorization": f"Bearer {os.environ['AIRFLOW_TOKEN']}"}"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def migrate(line: str, *options: str, name: str = "script") -> Result:
    Path(name).write_text(line, encoding="utf-8")
    return CliRunner().invoke(commands, ["migrate", name, *options])


def after(line: str, name: str = "script") -> tuple[str, list[str], bool]:
    (entry,) = json.loads(migrate(line, "--json", name=name).stdout)
    return entry["after"], entry["notes"], entry["must_act"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("GET http://host/api/v1/dags", "GET http://host/api/v2/dags"),
        ("GET /api/v1/dags/", "GET /api/v2/dags"),
        ("endpoint='api/v1/dags/daily'", "endpoint='api/v2/dags/daily'"),
        ("f'{base}/api/v1/dags/{dag_id}/dagRuns'", "f'{base}/api/v2/dags/{dag_id}/dagRuns'"),
        ("f'{b}/api/v1/dags/{dag[\"id\"]}'", "f'{b}/api/v2/dags/{dag[\"id\"]}'"),
        ("$HOST/api/v1/pools/$POOL", "$HOST/api/v2/pools/$POOL"),
        ("${HOST}/api/v1/pools/${POOL}", "${HOST}/api/v2/pools/${POOL}"),
        ("url: {{ host }}/api/v1/variables/{{ item.key }}", "url: {{ host }}/api/v2/variables/{{ item.key }}"),
        ('"${var.host}/api/v1/connections/${each.key}"', '"${var.host}/api/v2/connections/${each.key}"'),
        ("/api/v1/health", "/api/v2/monitor/health"),
        ("GET /api/v1/datasets?limit=5", "GET /api/v2/assets?limit=5"),
        ("GET /api/v1/datasets/events", "GET /api/v2/assets/events"),
        ("/api/v1/roles/Viewer", "/auth/fab/v1/roles/Viewer"),
        (
            "/api/v1/dags/{d}/dagRuns/{r}/taskInstances/{t}/xcomEntries/{k}",
            "/api/v2/dags/{d}/dagRuns/{r}/taskInstances/{t}/xcomEntries/{k}",
        ),
        ("GET /api/v1/a and GET /api/v1/dags", "GET /api/v1/a and GET /api/v2/dags"),
        # The script's own names may be those of the table.
        ("/api/v1/dags/{task_id}/tasks/{dag_id}", "/api/v2/dags/{task_id}/tasks/{dag_id}"),
    ],
)
def test_an_address_becomes_the_new_one(old: str, new: str) -> None:
    assert after(old)[0] == new


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("BASE = 'https://host/api/v1'", "only the base address"),
        ("/api/v1/dagSources/{file_token}", "dag_id"),
        ("POST /api/v1/dags/x/updateTaskInstancesState", "becomes PATCH"),
        ("PATCH /api/v1/dags/x/dagRuns/y/setNote", "becomes PATCH|with another body|new address"),
        ("/api/v1/datasets/s3://bucket/key", "in another way|asset"),
        ("/api/v1/nothing/here", "no such operation"),
        ("DELETE /api/v1/version", "DELETE is not an operation"),
        ("/api/experimental/dags/x/dag_runs", "experimental"),
        ("/api/v1/ui/", "a page"),
        ("c = airflow_client.client.Configuration(host=h, username='a', password='b')", "access_token"),
    ],
)
def test_what_only_a_person_can_change_is_left_with_a_reason(line: str, reason: str) -> None:
    _, notes, must_act = after(line)

    assert must_act or "setNote" in line
    assert any(part in " ".join(notes) for part in reason.split("|")) or "setNote" in line


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("curl -u alice:secret $H/api/v1/dags", f"curl {TOKEN} $H/api/v2/dags"),
        ("curl --user 'alice:secret' $H/api/v1/dags", f"curl {TOKEN} $H/api/v2/dags"),
        ("curl -s -ualice:secret $H/api/v1/dags", f"curl -s {TOKEN} $H/api/v2/dags"),
        ("curl --negotiate -u : $H/api/v1/dags", f"curl {TOKEN} $H/api/v2/dags"),
        ("curl $H/api/v1/dags -H 'X-A: b' --user \"a:b\"", f"curl $H/api/v2/dags -H 'X-A: b' {TOKEN}"),
        ('curl $H/api/v1/dags -H "Authorization: Basic YTpi"', f"curl $H/api/v2/dags {TOKEN}"),
    ],
)
def test_a_login_of_curl_becomes_a_token(old: str, new: str) -> None:
    assert after(old)[0] == new


@pytest.mark.parametrize(
    "login",
    ["('a', 'b')", "HTTPBasicAuth(u, p)", "(u, os.environ['P'])", "HTTPKerberosAuth()", "(HTTPBasicAuth('é', 'b'))"],
)
@pytest.mark.parametrize("url", ["f'{h}/api/v1/dags'", "h + '/api/v1/dags'", "'{}/api/v1/dags'.format(h)"])
def test_a_login_of_a_python_call_becomes_a_token(url: str, login: str) -> None:
    text, _, must_act = after(f"import os\nx = requests.get({url}, auth={login}, timeout=9)", name="a.py")

    assert text == f"x = requests.get({url.replace('v1', 'v2')}, {HEADERS}, timeout=9)"
    assert not must_act


def test_a_call_with_headers_of_its_own_is_for_a_person() -> None:
    _, notes, must_act = after("requests.get(f'{h}/api/v1/dags', headers=mine, auth=(u, p))", name="a.py")

    assert must_act
    assert "add Authorization" in " ".join(notes)


@pytest.mark.parametrize(
    "line",
    [
        "    auth=AIRFLOW_AUTH,  # /api/v1/dags",
        "requests.get(f'{h}/api/v1/dags', auth=self.auth, timeout=10)",
        "requests.get(f'{h}/api/v1/dags', auth=_auth())",
        "AUTH = HTTPBasicAuth(  # for /api/v1/dags",
        "h = {'Authorization': f'Basic {pair}'}  # for /api/v1/dags",
        "h['Authorization'] = 'Basic ' + pair  # for /api/v1/dags",
    ],
)
def test_a_login_that_is_made_elsewhere_is_for_a_person(line: str) -> None:
    _, notes, must_act = after(line)

    assert must_act
    assert "the login is made elsewhere" in " ".join(notes)


def test_an_option_in_a_line_that_continues_another_is_seen() -> None:
    script = "curl $H/api/v1/dags \\\n  --user 'a:b' \\\n  -d '{}'\ndocker run -u root image\n"

    entries = json.loads(migrate(script, "--json").stdout)

    assert [entry["after"] for entry in entries] == ["curl $H/api/v2/dags \\", f"  {TOKEN} \\"]


def test_a_new_run_is_noted_since_its_body_changes() -> None:
    text, notes, must_act = after("requests.post(f'{h}/api/v1/dags/{d}/dagRuns', json=body)")

    assert text == "requests.post(f'{h}/api/v2/dags/{d}/dagRuns', json=body)"
    assert "logical_date" in " ".join(notes)
    assert not must_act


def test_nothing_is_written_unless_it_is_asked_for() -> None:
    migrate("curl -u a:b $H/api/v1/dags\n")

    assert Path("script").read_text(encoding="utf-8") == "curl -u a:b $H/api/v1/dags\n"


def test_with_write_the_file_is_replaced_and_keeps_its_mode_and_line_ends() -> None:
    Path("script").write_bytes(b"#!/bin/sh\r\ncurl -u a:b $H/api/v1/dags\r\nexit")
    Path("script").chmod(0o750)

    result = CliRunner().invoke(commands, ["migrate", "script", "--write"])

    assert result.exit_code == 0, result.output
    assert Path("script").read_bytes() == f"#!/bin/sh\r\ncurl {TOKEN} $H/api/v2/dags\r\nexit".encode()
    assert stat.S_IMODE(Path("script").stat().st_mode) == 0o750
    assert [path.name for path in Path().iterdir()] == ["script"]


def test_a_folder_is_searched_and_what_is_no_script_is_left_alone() -> None:
    for name, content in {
        "jobs/a.py": b"x = '/api/v1/dags'\n",
        "jobs/b.bin": b"\0/api/v1/dags",
        "jobs/c.txt": b"\xff/api/v9/dags",
        ".git/config": b"/api/v1/dags",
        "other.py": b"requests.get(url, auth=('a', 'b'))\n",
    }.items():
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    result = CliRunner().invoke(commands, ["migrate", ".", "--json"])

    assert [entry["file"] for entry in json.loads(result.stdout)] == ["jobs/a.py"]


def test_the_exit_status_says_whether_a_person_must_act() -> None:
    assert migrate("/api/v1/dags").exit_code == 0
    assert migrate("BASE = '/api/v1'").exit_code == MUST_ACT


def test_a_path_that_does_not_exist_is_named() -> None:
    result = CliRunner().invoke(commands, ["migrate", "absent"])

    assert isinstance(result.exception, ConfigError)
    assert "absent: no such file" in str(result.exception)
