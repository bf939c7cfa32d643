"""The limit of open files, and what follows from it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from compat_auth.gateway.server.open_files import connections_within

PROGRAM = """
import logging, resource, sys
from compat_auth.gateway.server.open_files import raise_limit
logging.basicConfig(stream=sys.stdout, format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
print(raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(("soft", "hard", "raised"), [(256, 2048, 2048), (2048, 2048, 2048)])
def test_the_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int, raised: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(soft), str(hard)]

    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert printed == f"{raised} {raised}\n"


def test_a_low_limit_is_said_with_what_to_do() -> None:
    command = [sys.executable, "-c", PROGRAM, "256", "256"]

    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert printed.startswith("only 256 files may be open, so a worker accepts at most 85 connections; raise the limit")


@pytest.mark.parametrize("open_files", [16, 64, 256, 1024, 65_536])
def test_every_connection_may_have_one_to_the_upstream_and_something_is_left(open_files: int) -> None:
    connections = connections_within(open_files)

    assert 2 <= connections <= 16_384
    assert 2 * connections < open_files
