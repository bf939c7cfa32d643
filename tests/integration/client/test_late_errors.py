"""The errors of the client are loaded at the first use of their names, not by every program that knows other errors."""

from __future__ import annotations

import sys
from subprocess import run


def test_the_names_loaded_late_are_listed_before_they_are_used() -> None:
    listed = run(
        [sys.executable, "-c", "from compat_auth import errors; print(*dir(errors))"], capture_output=True, check=True
    )

    assert {"ClientError", "LoginRefused"} <= set(listed.stdout.decode().split())


def test_the_errors_alone_load_nothing_of_the_client() -> None:
    command = "import sys; from compat_auth.errors import ConfigError; print(*sys.modules)"

    loaded = run([sys.executable, "-c", command], capture_output=True, check=True)

    assert not [name for name in loaded.stdout.decode().split() if name.startswith("compat_auth.client")]


def test_an_error_of_the_client_can_be_caught_by_its_public_name() -> None:
    command = (
        "from compat_auth.errors import ClientError\n"
        "from compat_auth.client.origin import parse_server\n"
        "try:\n    parse_server('http://elsewhere.example', allow_http=False)\n"
        "except ClientError as error:\n    print(type(error).__name__)"
    )

    caught = run([sys.executable, "-c", command], capture_output=True, check=True)

    assert caught.stdout.split() == [b"UnsafeAddress"]
