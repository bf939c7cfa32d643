"""Files that others can read, change or replace are found."""

from __future__ import annotations

from pathlib import Path

from compat_auth.cli.doctor.files import examine_files
from compat_auth.cli.doctor.result import Result
from compat_auth.config import parse_settings


def results_of(folder: Path, said: str = "") -> list[Result]:
    settings = parse_settings({"htpasswd": {"file": str(folder / "users")}}, origin="test")
    return list(examine_files(settings, str(folder / "c.toml"), {}, said))


def made(folder: Path, name: str, mode: int) -> Path:
    path = folder / name
    path.write_text("")
    path.chmod(mode)
    return path


def test_private_files_are_right(tmp_path: Path) -> None:
    made(tmp_path, "c.toml", 0o600)
    made(tmp_path, "users", 0o640)

    (found,) = results_of(tmp_path)

    assert found.status == "ok"
    assert str(tmp_path / "users") in found.what


def test_a_secret_that_everybody_can_read_is_a_warning(tmp_path: Path) -> None:
    config = made(tmp_path, "c.toml", 0o644)

    found = results_of(tmp_path)[0]

    assert (found.status, found.next) == ("warning", f"run: chmod o-rwx {config}")


def test_a_file_that_others_can_change_is_a_failure(tmp_path: Path) -> None:
    users = made(tmp_path, "users", 0o660)

    found = results_of(tmp_path)[0]

    assert (found.status, found.next) == ("failure", f"run: chmod go-w {users}")


def test_a_file_in_a_folder_that_everybody_can_write_is_a_failure(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    made(folder, "users", 0o600)
    folder.chmod(0o777)

    found = results_of(folder)[0]

    assert found.status == "failure"
    assert f"may write to {folder}" in found.what


def test_a_sticky_folder_is_safe(tmp_path: Path) -> None:
    folder = tmp_path / "sticky"
    folder.mkdir()
    made(folder, "users", 0o600)
    folder.chmod(0o1777)

    assert [found.status for found in results_of(folder)] == ["ok"]


def test_a_file_that_another_check_has_named_is_not_reported_again(tmp_path: Path) -> None:
    users = made(tmp_path, "users", 0o666)

    assert [found.status for found in results_of(tmp_path, said=f"{users}: mode 0666")] == ["ok"]
