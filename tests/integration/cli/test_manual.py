"""Completion in a real bash, the manual page through groff, the documentation over a socket, and `--version`."""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from compat_auth.cli import commands
from compat_auth.cli.manual.completion import script_for
from compat_auth.cli.manual.pages import Pages
from support.serving import served_by_asgi

ROOT = Path(__file__).parents[3]
COMMAND = Path(sys.executable).with_name("compat-auth")


def completed(*words: str, folder: Path) -> list[str]:
    """Return what bash offers after these words."""
    script = script_for("bash", commands)
    typed = " ".join(f"'{word}'" for word in ("compat-auth", *words))
    program = (
        f"PATH={COMMAND.parent}:$PATH\n{script}\n"
        f"COMP_WORDS=({typed}); COMP_CWORD={len(words)}\n"
        "_compat_auth_completion compat-auth\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("tok",), ["token", "tokens"]),
        (("keys", "r"), ["rotate", "retire"]),
        (("tokens", "list", "--j"), ["--json"]),
        (("completion", "f"), ["fish"]),
    ],
    ids=["command", "subcommand", "option", "value"],
)
def test_bash_completes_commands_options_and_values(words: tuple[str, ...], offered: list[str], tmp_path: Path) -> None:
    assert sorted(completed(*words, folder=tmp_path)) == sorted(offered)


def test_the_manual_page_is_one_that_groff_reads_without_a_warning() -> None:
    page = subprocess.run([COMMAND, "man"], capture_output=True, check=True).stdout

    shown = subprocess.run(
        ["groff", "-man", "-Kutf8", "-Tutf8", "-ww", "-P-c"], input=page, capture_output=True, check=True
    )

    assert shown.stderr == b""
    text = re.sub(".\b", "", shown.stdout.decode())
    assert "compat-auth keys rotate [OPTIONS]" in text
    assert "EXIT STATUS" in text


def test_the_version_of_a_git_archive_has_the_revision(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    source = tmp_path / "compat_auth" / "cli" / "manual"
    source.mkdir(parents=True)
    shutil.copy(ROOT / "compat_auth" / "cli" / "manual" / "revision.txt", source)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()

    subprocess.run([*git, "archive", "-o", str(tmp_path / "a.tar"), "HEAD"], check=True)

    with tarfile.open(tmp_path / "a.tar") as archive:
        file = archive.extractfile("compat_auth/cli/manual/revision.txt")
        assert file is not None
        assert file.read().decode().strip() == head


def asked(url: str, target: str, method: str = "GET") -> tuple[int, bytes]:
    """Ask for a target as it is written: urllib would tidy it up."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.putrequest(method, target)
    connection.endheaders()
    answer = connection.getresponse()
    status, body = answer.status, answer.read()
    connection.close()
    return status, body


@pytest.mark.parametrize(
    "target",
    ["/../secret", "/%2e%2e/secret", "/..%2fsecret", "/a/%2e%2e/%2e%2e/secret", "//../secret", "/%00", "/..;/secret"],
)
def test_no_spelling_of_a_path_leads_out_of_the_documentation(target: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("first page")

    with served_by_asgi(Pages(tmp_path / "site")) as url:
        first, attacked = asked(url, "/"), asked(url, target)

    assert first == (200, b"first page")
    assert attacked[0] in (400, 404)
    assert b"secret" not in attacked[1]


def test_head_has_no_body_and_the_length_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("first page")

    with served_by_asgi(Pages(tmp_path)) as url:
        status, body = asked(url, "/", "HEAD")

    assert (status, body) == (200, b"")


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    built = tmp_path / "docs" / "_build"
    built.mkdir(parents=True)
    (built / "index.html").write_text("first page")
    program = (
        "import pathlib, sys; from compat_auth.cli.manual import docs; from compat_auth.cli import main\n"
        f"found = docs.find_pages; docs.find_pages = lambda: found(pathlib.Path('none'), pathlib.Path({str(tmp_path)!r}))\n"
        "sys.argv = ['compat-auth', 'docs', '--bind', '127.0.0.1:0']; main()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            found = re.fullmatch(r"In a browser: (http://127\.0\.0\.1:\d+)/\n", line)
            assert found is not None
            status, body = asked(found[1], "/")
        finally:
            server.send_signal(2)
            code = server.wait(timeout=30)

    assert (status, body, code) == (200, b"first page", 0)
