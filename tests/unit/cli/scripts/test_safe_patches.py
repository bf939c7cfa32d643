"""`compat-auth migrate` sends no token to another host, breaks no script, and says what a person must change."""

from __future__ import annotations

import ast
import json
import os
import re
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.cli.scripts import old_paths
from compat_auth.cli.scripts.command import MUST_ACT

TOKEN = "AIRFLOW_TOKEN"
CALL = "curl $AF/api/v1/dags\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def migrate(text: str, name: str, *options: str) -> Result:
    Path(name).write_text(text, encoding="utf-8")
    return CliRunner().invoke(commands, ["migrate", name, *options])


def written(text: str, name: str) -> tuple[str, int]:
    """Return the file after `--write`, and the exit status."""
    result = migrate(text, name, "--write")
    return Path(name).read_text(encoding="utf-8"), result.exit_code


OTHER_HOSTS = {
    "another host in the same file": f'{CALL}curl -u "$JU:$JT" https://jenkins.example.com/job/x/build',
    "another host in the next command": 'curl $AF/api/v1/dags && curl -u "a:b" https://jenkins.example.com/job',
    "another host after a pipe": "curl $AF/api/v1/dags | curl -u a:b -d @- https://hooks.example.com/x",
    "two addresses in one curl": "curl -u a:b https://jenkins.example.com/x $AF/api/v1/dags",
    "the address in the body": "curl -u a:b -d 'url=http://af/api/v1/dags' https://hooks.example.com/x",
    "the address in another header": "curl -u a:b -H 'Referer: http://af/api/v1/dags' https://hooks.example.com",
    "the address in the query": "curl -u a:b 'https://hooks.example.com/?next=http://af/api/v1/dags'",
    "the address behind a userinfo": "curl -u a:b 'https://af@evil.example/api/v1/dags'",
    "the address in a path": "curl -u a:b https://proxy.example.com/http://af/api/v1/dags",
    "two hosts in braces": "curl -u a:b 'https://{af,evil}.example/api/v1/dags'",
    "an operation that others have": "curl -u a:b https://grafana.example.com/api/v1/users",
    "Prometheus": f"{CALL}curl -u a:b https://prometheus.example.com/api/v1/query?query=up",
    "Kubernetes": f"{CALL}curl -u a:b https://k8s.example.com/api/v1/namespaces/x/pods",
    "options in a variable": "curl $OPTIONS -u a:b $AF/api/v1/dags",
    "an unknown option": "curl -u a:b --connect-to x:y:evil:443 $AF/api/v1/dags",
    "a proxy": "curl -u a:b -x http://proxy.example.com $AF/api/v1/dags",
    "more options in a file": "curl -K options -u a:b $AF/api/v1/dags",
}


@pytest.mark.parametrize("text", OTHER_HOSTS.values(), ids=OTHER_HOSTS)
def test_a_token_is_sent_only_to_an_address_that_is_certainly_airflows(text: str) -> None:
    patched, status = written(text, "job.sh")

    assert TOKEN not in patched
    assert status == MUST_ACT


OTHER_CALLS = {
    "another host": "requests.get('http://af/api/v1/dags')\nrequests.post('https://jenkins/x', auth=('a', 'b'))",
    "the address in the query": "requests.get('https://hooks/?u=http://af/api/v1/dags', auth=('a', 'b'))",
    "the address in a path": "requests.get('https://proxy/' + 'http://af/api/v1/dags', auth=('a', 'b'))",
    "the address in the body": "requests.post('https://hooks/', {'u': 'http://af/api/v1/dags'}, auth=('a', 'b'))",
    "an address made elsewhere": "url = 'http://af/api/v1/dags'\nrequests.get(url, auth=('a', 'b'))",
    "a call of something else": "configure('http://af/api/v1/dags', auth=('a', 'b'))",
    "an operation that others have": "requests.get('https://grafana/api/v1/users', auth=('a', 'b'))",
}


@pytest.mark.parametrize("text", OTHER_CALLS.values(), ids=OTHER_CALLS)
def test_a_token_is_put_only_into_a_python_call_to_airflow(text: str) -> None:
    patched, status = written(f"import os\nimport requests\n{text}\n", "job.py")

    assert TOKEN not in patched
    assert status == MUST_ACT


@pytest.mark.parametrize("path", ["query?query=up", "namespaces/x/pods", "nodes"])
def test_the_logins_of_another_product_are_left_alone(path: str) -> None:
    result = migrate(f"X='Authorization: Basic YTpi'\ncurl -u a:b https://other.example.com/api/v1/{path}\n", "a.sh")

    assert "a.sh:1:" not in result.stdout
    assert "login" not in result.stdout


JOINED = {
    "python": ("a.py", 'x = base + "/api/v1/dags/" + dag_id + "/dagRuns"'),
    "python without a slash": ("a.py", 'x = base + "/api/v1/dags" + rest'),
    "python, two strings": ("a.py", 'x = (base + "/api/v1/dags/x"\n    "/dagRuns")'),
    "javascript": ("a.js", "get('/api/v1/dags/' + id + '/dagRuns')"),
    "javascript, the sign in the next line": ("a.js", "get('/api/v1/dags'\n  + rest)"),
    "php": ("a.php", '$u = "/api/v1/dags/x" . $rest;'),
    "lua": ("a.lua", 'u = "/api/v1/dags/x" .. rest'),
    "shell": ("a.sh", 'curl "$B/api/v1/dags/"$DAG"/dagRuns"'),
    "shell, the quote begins after the slash": ("a.sh", 'curl $B/api/v1/dags/"$DAG"/dagRuns'),
    "shell without a slash": ("a.sh", 'curl "$B/api/v1/dags"/$DAG'),
    "shell, single quotes": ("a.sh", "curl 'http://af/api/v1/dags/'\"$DAG\"'/dagRuns'"),
    "shell, the next line": ("a.sh", "curl $B/api/v1/dags\\\n/x/updateTaskInstancesState"),
    "a string in a string": ("a.py", r'x = "f(\"/api/v1/dags/\" + id)"'),
    "a brace that is not closed": ("a.txt", "/api/v1/dags/{{ a\n}}/x"),
}


@pytest.mark.parametrize(("name", "text"), JOINED.values(), ids=JOINED)
def test_an_address_that_goes_on_elsewhere_is_for_a_person(name: str, text: str) -> None:
    patched, status = written(text, name)

    assert patched == text
    assert status == MUST_ACT


@pytest.mark.parametrize(
    "text",
    [
        'curl "$B/api/v1/dags" || exit 1',
        'curl "$B/api/v1/dags"\n. ./next.sh',
        'curl "$B/api/v1/dags" &',
        "sh -c 'curl \"$B/api/v1/dags\"'",
        'A="/api/v1/dags"',
    ],
)
def test_a_whole_address_in_quotes_gets_its_new_one(text: str) -> None:
    assert written(text, "a.sh") == (text.replace("v1", "v2"), 0)


PYTHON = {
    "headers in the line before": "requests.get(\n    '/api/v1/dags',\n    headers={'A': 'b'},\n    auth=('a', 'b'),\n)",
    "headers in the line after": "requests.get(\n    '/api/v1/dags',\n    auth=('a', 'b'),\n    headers=h,\n)",
    "more options in a variable": "requests.get('/api/v1/dags', auth=('a', 'b'), **more)",
    "a login over two lines": "requests.get('/api/v1/dags', auth=HTTPBasicAuth(\n    'a', 'b'))",
    "a variable": "auth = ('a', 'b')\nrequests.get('/api/v1/dags')",
    "an attribute": "s.auth = ('a', 'b')\ns.get('/api/v1/dags')",
    "a dictionary": "requests.get('/api/v1/dags', **{'auth': ('a', 'b')})",
    "a name of the file": "requests.get('/api/v1/dags', auth=LOGIN)",
    "in an f-string": "x = f\"{requests.get('/api/v1/dags', auth=('a', 'b')).status_code}\"",
    "in an f-string of many lines": 'x = f"""\n{requests.get("/api/v1/dags", auth=(1, 2))}\n"""',
    "os is another thing": "os = 1\nrequests.get('/api/v1/dags', auth=('a', 'b'))",
    "a command in a string": 'BashOperator(bash_command="curl -u admin:admin http://af/api/v1/dags")',
    "a command in a list": "run(['curl', '-u', 'a:b', 'http://af/api/v1/dags'])",
    "a connection": "SimpleHttpOperator(http_conn_id='af', endpoint='api/v1/dags')",
}


@pytest.mark.parametrize("text", PYTHON.values(), ids=PYTHON)
def test_a_python_login_that_cannot_be_replaced_safely_is_for_a_person(text: str) -> None:
    patched, status = written(f"import os\n{text}\n", "job.py")

    assert patched == f"import os\n{text}\n".replace("v1", "v2")
    assert status == MUST_ACT
    ast.parse(patched)


@pytest.mark.parametrize(
    "before", ["", "from os import environ\n", "import os as system\n", "def f():\n    import os\n"]
)
def test_without_import_os_the_login_is_for_a_person(before: str) -> None:
    text = f"{before}requests.get('/api/v1/dags', auth=('a', 'b'))\n"

    result = migrate(text, "job.py")

    assert result.exit_code == MUST_ACT
    assert f"{TOKEN}']}}" not in re.sub(r"(?m)^ACT .*", "", result.stdout)
    assert "import os" in result.stdout


def test_a_file_that_is_not_python_3_gets_new_addresses_only() -> None:
    text = "import os\nprint requests.get('/api/v1/dags', auth=('a', 'b'))\n"

    assert written(text, "job.py") == (text.replace("v1", "v2"), MUST_ACT)


@pytest.mark.parametrize("text", ["\ufeffimport os\n", "import os\r\n", "import os\n# é \u2028 \x0c\n"])
def test_positions_are_right_beside_marks_of_order_line_ends_and_other_characters(text: str) -> None:
    Path("job.py").write_bytes(f"{text}é = requests.get('/api/v1/dags', auth=('é', 'b'), timeout=1)".encode())

    result = CliRunner().invoke(commands, ["migrate", "job.py", "--write"])

    assert result.exit_code == 0, result.output
    header = """headers={"Authorization": f"Bearer {os.environ['AIRFLOW_TOKEN']}"}"""
    expected = f"{text}é = requests.get('/api/v2/dags', {header}, timeout=1)"
    assert Path("job.py").read_bytes() == expected.encode()


BEARER = '-H "Authorization: Bearer $AIRFLOW_TOKEN"'
SHELL = {
    "an option in its own line": (
        "curl \\\n  -u a:b \\\n  $AF/api/v1/dags\n",
        f"curl \\\n  {BEARER} \\\n  $AF/api/v2/dags\n",
    ),
    "a ticket over two lines": (
        "curl --negotiate \\\n  -u : \\\n  $AF/api/v1/dags\n",
        f"curl {BEARER} \\\n  \\\n  $AF/api/v2/dags\n",
    ),
    "a login twice": ("curl -u a:b -H 'Authorization: Basic x' $AF/api/v1/dags", f"curl {BEARER} $AF/api/v2/dags"),
    "a header in single quotes": (
        "curl -H 'Authorization: Basic YTpi' $AF/api/v1/dags",
        f"curl {BEARER} $AF/api/v2/dags",
    ),
    "a header with a command": (
        'curl -H "Authorization: Basic $(echo -n a:b | base64)" $AF/api/v1/dags',
        f"curl {BEARER} $AF/api/v2/dags",
    ),
    "after another command": (
        "git push -u origin main && curl -u a:b $AF/api/v1/dags",
        f"git push -u origin main && curl {BEARER} $AF/api/v2/dags",
    ),
    "more options in the word": ("curl -sSu a:b $AF/api/v1/dags", f"curl -sS {BEARER} $AF/api/v2/dags"),
    "more options in the word of a header": (
        "curl -sH 'Authorization: Basic x' $AF/api/v1/dags",
        f"curl -s {BEARER} $AF/api/v2/dags",
    ),
    "in a substitution": ('X="$(curl -u a:b "$AF/api/v1/dags")"', f'X="$(curl {BEARER} "$AF/api/v2/dags")"'),
    "with redirections": (
        "curl -u a:b $AF/api/v1/dags > out 2>&1 </dev/null",
        f"curl {BEARER} $AF/api/v2/dags > out 2>&1 </dev/null",
    ),
    "in a condition": (
        "if ! curl -fu a:b $AF/api/v1/dags; then exit 1; fi",
        f"if ! curl -f {BEARER} $AF/api/v2/dags; then exit 1; fi",
    ),
    "with a body": (
        """curl -X POST -u "$U:$P" -d '{"a": "#;|"}' "${AF}/api/v1/dags/x/dagRuns" | sort -n""",
        f"""curl -X POST {BEARER} -d '{{"a": "#;|"}}' "${{AF}}/api/v2/dags/x/dagRuns" | sort -n""",
    ),
    "before a docker": (
        "curl -u a:b $AF/api/v1/dags\ndocker run \\\n  -u 1000:1000 image\n",
        f"curl {BEARER} $AF/api/v2/dags\ndocker run \\\n  -u 1000:1000 image\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), SHELL.values(), ids=SHELL)
def test_a_shell_script_runs_after_the_patch_and_sends_one_header(before: str, after: str) -> None:
    patched, status = written(before, "job.sh")

    assert (patched, status) == (after, 0)


QUOTED = {
    "a here-document": ("a.sh", "cat > x.sh <<EOF\ncurl -u a:b http://af/api/v1/dags\nEOF\n"),
    "a command of another shell": ("a.sh", 'ssh host "curl -u a:b http://af/api/v1/dags"\n'),
    "words for another shell": ("a.sh", "ssh host curl -u a:b http://af/api/v1/dags\n"),
    "backticks": ("a.sh", "x=`curl -u a:b http://af/api/v1/dags`\n"),
    "a quote that is not closed": ("a.sh", "curl -u a:b http://af/api/v1/dags\necho it's\n"),
    "an option over two lines": ("a.sh", "curl -u \\\n a:b http://af/api/v1/dags\n"),
    "a token beside the login": ("a.sh", 'curl -u a:b -H "Authorization: Bearer $T" http://af/api/v1/dags\n'),
    "a header in a variable": ("a.sh", 'curl -u a:b -H "$AUTH" http://af/api/v1/dags\n'),
    "a notebook": ("a.ipynb", json.dumps({"source": ["!curl -u a:b http://af/api/v1/dags"]})),
    "json": ("a.json", json.dumps({"run": "curl -u 'a:b' http://af/api/v1/dags"})),
    "yaml": ("a.yaml", "run: curl -u a:b http://af/api/v1/dags\n"),
    "a Makefile": ("Makefile", "x:\n\tcurl -u a:b http://af/api/v1/dags\n"),
    "a Dockerfile": ("Dockerfile", 'CMD ["curl", "-u", "a:b", "http://af/api/v1/dags"]\n'),
    "a script of Perl": ("script", "#!/usr/bin/perl\n`curl -u a:b http://af/api/v1/dags`;\n"),
    "a script of Python": ("script", "#!/usr/bin/env python3\nos.system('curl -u a:b http://af/api/v1/dags')\n"),
}


@pytest.mark.parametrize(("name", "text"), QUOTED.values(), ids=QUOTED)
def test_a_login_in_a_string_of_another_language_is_for_a_person(name: str, text: str) -> None:
    patched, status = written(text, name)

    assert patched == text.replace("api/v1", "api/v2")
    assert status == MUST_ACT


SEEN = {
    "java": ("A.java", '.header("Authorization", "Basic " + b)'),
    "javascript": ("a.js", "{Authorization: 'Basic ' + btoa(x)}"),
    "javascript, a template": ("a.js", "{Authorization: `Basic ${btoa(x)}`}"),
    "axios": ("a.js", "axios.get(u, {auth: {username: 'a', password: 'b'}})"),
    "axios over lines": ("a.js", "axios.get(u, {\n  auth: {\n    username,\n  }})"),
    "terraform": ("a.tf", 'request_headers = { Authorization = "Basic ${base64encode(x)}" }'),
    "powershell": ("a.ps1", '$h = @{ Authorization = "Basic $b" }'),
    "powershell, a credential": ("a.ps1", "Invoke-RestMethod $u -Credential $c"),
    "go": ("a.go", 'req.SetBasicAuth("a", "b")'),
    "ruby": ("a.rb", "req.basic_auth 'a', 'b'\nreq.basic_auth('a', 'b')"),
    "c sharp": ("A.cs", 'new AuthenticationHeaderValue("Basic", b)'),
    "php": ("a.php", "curl_setopt($c, CURLOPT_USERPWD, 'a:b');"),
    "ansible": ("a.yml", "url_username: a"),
    "ansible, the short name": ("a.yml", "password: '{{ secret }}'"),
    "curl with more options": ("a.yml", "- curl -su a:b $URL"),
    "curl with a netrc": ("a.sh", "curl -n $URL"),
    "curl with a netrc among options": ("a.sh", "curl -sSn $URL"),
    "options of curl in a variable": ("a.sh", 'OPTIONS="-u $U:$P"'),
    "options of curl in an array": ("a.sh", "OPTIONS=(-s -u a:b)"),
    "options of curl as parameters": ("a.sh", "set -- -u a:b"),
    "a function of the script": ("a.sh", "call_airflow -u a:b"),
    "another user of curl": ("a.sh", "sudo -u airflow curl -u a:b $URL"),
    "wget": ("a.sh", "wget --user=a --password=b $URL"),
    "httpie": ("a.sh", "http -a a:b $URL"),
    "a login in the address": ("a.sh", "curl http://user:pw@af/x"),
    "a login in the address, from variables": ("a.py", "u = f'http://{user}:{pw}@af/x'"),
    "a header in a variable": ("a.sh", "AUTH='Authorization: Basic YTpi'"),
    "kerberos": ("a.py", "s = HTTPSPNEGOAuth()"),
}


@pytest.mark.parametrize(("name", "text"), SEEN.values(), ids=SEEN)
def test_an_old_login_in_any_language_is_for_a_person(name: str, text: str) -> None:
    mark = "#" if name.endswith((".py", ".sh", ".rb", ".tf", ".yml", ".ps1")) else "//"

    patched, status = written(f"{mark} GET http://af/api/v1/dags\n{text}\n", name)

    assert patched == f"{mark} GET http://af/api/v2/dags\n{text}\n"
    assert status == MUST_ACT


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_text_in_another_encoding_is_for_a_person(encoding: str) -> None:
    content = "# é\ncurl http://af/api/v1/dags\n".encode(encoding)
    Path("job.sh").write_bytes(content)

    result = CliRunner().invoke(commands, ["migrate", "job.sh", "--write"])

    assert result.exit_code == MUST_ACT
    assert "ACT  job.sh:1: the file names the old API, and is no UTF-8" in result.stdout
    assert Path("job.sh").read_bytes() == content


def test_a_text_that_is_too_large_is_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compat_auth.cli.scripts.scan.MAX_BYTES", 10)

    result = migrate("curl http://af/api/v1/dags\n", "job.sh")

    assert result.exit_code == MUST_ACT
    assert "look at it yourself" in result.stdout


@pytest.mark.parametrize("name", ["a.txt", "a.js", "a.sh"])
def test_a_long_line_is_searched_for_methods_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    searched: list[int] = []

    class Counting:
        pattern = re.compile(r"\b(GET)\b|(POST)")

        def findall(self, text: str) -> list[tuple[str, str]]:
            searched.append(len(text))
            return self.pattern.findall(text)

    monkeypatch.setattr(old_paths, "_METHOD", Counting())
    line = "GET /api/v1/dags " * 60_000

    patched, _ = written(line, name)

    assert patched == line.replace("v1", "v2")
    assert searched == [len(line)]


def test_with_write_the_owner_stays_and_nobody_else_can_read_the_new_text_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("job.sh").write_text(CALL, encoding="utf-8")
    Path("job.sh").chmod(0o640)
    seen: list[tuple[str, int, int, int]] = []
    change_mode = os.fchmod

    def fchown(descriptor: int, user: int, group: int) -> None:
        seen.append(("owner", stat.S_IMODE(os.fstat(descriptor).st_mode), user, group))

    def fchmod(descriptor: int, mode: int) -> None:
        seen.append(("mode", mode, 0, 0))
        change_mode(descriptor, mode)

    monkeypatch.setattr(os, "fchown", fchown)
    monkeypatch.setattr(os, "fchmod", fchmod)
    # The new file belongs to another user than the old one, as it does when root runs the command.
    old = os.stat_result((0o100640, 1, 1, 1, 4711, 4712, 1, 0, 0, 0))
    monkeypatch.setattr("compat_auth.cli.scripts.command.status_of", lambda _: old)

    result = CliRunner().invoke(commands, ["migrate", "job.sh", "--write"])

    assert result.exit_code == 0, result.output
    assert seen == [("owner", 0o600, 4711, 4712), ("mode", 0o640, 0, 0)]
    assert [path.name for path in Path().iterdir()] == ["job.sh"]
