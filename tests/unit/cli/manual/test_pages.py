"""The documentation server answers the files of one folder, by their exact names, and nothing else."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from compat_auth.cli.manual.docs import find_pages
from compat_auth.cli.manual.pages import Pages
from compat_auth.errors import ConfigError

SCRIPT = b"document.body.dataset.theme = 'dark'"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "how-to").mkdir(parents=True)
    (site / "index.html").write_bytes(b"<html><script>" + SCRIPT + b'</script><script src="a.js"></script></html>')
    (site / "how-to" / "index.html").write_text("how-to")
    (site / "a.js").write_text("1")
    (site / ".buildinfo").write_text("hidden")
    (tmp_path / "secret").write_text("secret")
    (site / "link").symlink_to(tmp_path / "secret")
    (site / "linked").symlink_to(tmp_path)
    return site


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/how-to/", "text/html; charset=utf-8"),
        ("/a.js", "text/javascript; charset=utf-8"),
    ],
)
def test_a_page_is_answered_with_its_media_type(path: str, kind: str, folder: Path) -> None:
    answer = Pages(folder).answer("GET", path)

    assert (answer.status, answer.kind) == (200, kind)


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/how-to/../../secret",
        "//secret",
        "/link",
        "/linked/secret",
        "/.buildinfo",
        "/how-to",
        "/%2e%2e/secret",
        "/..\\secret",
        "/index.html\0",
        "/INDEX.HTML",
        "",
        "secret",
        "/etc/passwd",
        "*",
    ],
)
def test_no_path_leads_out_of_the_folder_or_to_what_is_no_page(path: str, folder: Path) -> None:
    answer = Pages(folder).answer("GET", path)

    assert answer.status == 404
    assert b"secret" not in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_pages_can_only_be_read(method: str, folder: Path) -> None:
    answer = Pages(folder).answer(method, "/")

    assert answer.status == 405
    assert (b"allow", b"GET, HEAD") in answer.headers()


def test_only_the_scripts_of_the_page_itself_may_run(folder: Path) -> None:
    headers = dict(Pages(folder).answer("GET", "/").headers())

    policy = headers[b"content-security-policy"].decode()
    digest = base64.b64encode(hashlib.sha256(SCRIPT).digest()).decode()
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert scripts == f"script-src 'self' 'sha256-{digest}'"
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", ["/", "/a.js", "/nothing"])
def test_every_answer_forbids_guessing_and_embedding(path: str, folder: Path) -> None:
    headers = dict(Pages(folder).answer("GET", path).headers())

    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"cross-origin-resource-policy"] == b"same-origin"
    assert headers[b"referrer-policy"] == b"no-referrer"


def test_a_file_that_is_removed_later_is_not_found(folder: Path) -> None:
    pages = Pages(folder)
    (folder / "a.js").unlink()

    assert pages.answer("GET", "/a.js").status == 404


def test_the_pages_of_the_package_come_first(folder: Path, tmp_path: Path) -> None:
    assert find_pages(folder, tmp_path) == folder


def test_a_checkout_serves_what_it_has_built(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "checkout" / "docs").mkdir(parents=True)
    folder.rename(tmp_path / "checkout" / "docs" / "_build")

    assert find_pages(tmp_path / "none", tmp_path / "checkout") == tmp_path / "checkout" / "docs" / "_build"


def test_a_checkout_without_built_pages_names_the_command_that_builds_them(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "conf.py").touch()

    with pytest.raises(ConfigError, match="tox -e docs"):
        find_pages(tmp_path / "none", tmp_path)


def test_an_installation_without_pages_says_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="released wheel"):
        find_pages(tmp_path / "none", tmp_path)
