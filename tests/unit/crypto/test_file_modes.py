"""Files that others may change are not believed, wherever they are named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest

from compat_auth.config import Settings, load_settings, parse_settings
from compat_auth.crypto.file_modes import read_unwritable, refuse_writable_at
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.gateway.proxy.reverse_proxy import ReverseProxy
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.net.https_client import Endpoint
from compat_auth.tokens.keys.jwks_merge import merge_jwks
from compat_auth_backends.directories.htpasswd import HtpasswdDirectory
from compat_auth_backends.directories.mapping import MappingDirectory

WRITABLE = (0o620, 0o660, 0o664, 0o602, 0o622, 0o666, 0o777)
READABLE = (0o400, 0o440, 0o444, 0o600, 0o640, 0o644, 0o755)


def settings_with(**sections: object) -> Settings:
    """Return settings with these sections."""
    return parse_settings(sections, origin="test")


def secret_of_a_variable(path: Path) -> object:
    """Read a secret from the file that a variable names."""
    return load_settings(environ={"COMPAT_AUTH_SESSION__SECRET_FILE": str(path), "COMPAT_AUTH_AUTH_BACKENDS": "[]"})


def proxy_with_ca(path: Path) -> object:
    """Make a reverse proxy that believes the authorities in a file."""
    upstream = settings_with(upstream={"url": "https://127.0.0.1:1", "verify": str(path)}).upstream
    return ReverseProxy(upstream, TrustedProxies(()))


READERS: dict[str, Callable[[Path], object]] = {
    "configuration": lambda path: load_settings(str(path), environ={}),
    "secret": secret_of_a_variable,
    "htpasswd": lambda path: HtpasswdDirectory.from_settings(settings_with(htpasswd={"file": str(path)})),
    "mapping": lambda path: MappingDirectory.from_settings(settings_with(mapping={"file": str(path)})),
    "public-keys": lambda path: merge_jwks([], [str(path)]),
    "authorities": lambda path: Endpoint.parse("https://idp.example.com", where="test", ca_file=str(path)),
    "authorities-of-the-upstream": proxy_with_ca,
}


@pytest.mark.parametrize("mode", WRITABLE, ids=oct)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_file_that_others_may_write_is_refused_with_the_remedy(
    read: Callable[[Path], object], mode: int, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("")
    path.chmod(mode)

    with pytest.raises(ConfigError, match=rf"{path}: mode {mode:04o} .*chmod go-w {path}"):
        read(path)


@pytest.mark.parametrize("mode", READABLE, ids=oct)
def test_a_file_that_others_may_only_read_is_read(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    path.chmod(mode)

    assert read_unwritable(path) == "content"


def test_a_mounted_secret_is_judged_by_its_file_and_not_by_its_links(tmp_path: Path) -> None:
    # As Kubernetes mounts one: a link into a folder that a link names, both with mode 0777.
    data = tmp_path / "..2026_01_01"
    data.mkdir()
    (data / "users").write_text("content")
    (data / "users").chmod(0o644)
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "users").symlink_to("..data/users")

    assert read_unwritable(tmp_path / "users") == "content"

    (data / "users").chmod(0o666)
    with pytest.raises(ConfigError):
        read_unwritable(tmp_path / "users")


def test_what_is_no_file_has_no_mode_that_says_anything(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o666)

    refuse_writable_at(tmp_path / "pipe")
    refuse_writable_at(tmp_path / "missing")


def test_a_password_file_that_others_may_write_from_now_on_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"bob:{bcrypt.hashpw(b'x', bcrypt.gensalt(4)).decode()}\n")
    directory = HtpasswdDirectory(path)
    path.chmod(0o666)

    with pytest.raises(BackendUnavailable, match="chmod go-w"):
        directory.find("bob")
