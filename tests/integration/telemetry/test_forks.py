"""What a fork shares, and what it must not share."""

from __future__ import annotations

import os
import re

from compat_auth.telemetry.counts import Snapshot
from compat_auth.telemetry.request_ids import make_id
from compat_auth.telemetry.shared import SharedNumbers

MADE = re.compile(rb"[0-9a-f]{32}\Z")
COUNTED: Snapshot = {"requests": {("fast", "2xx"): [7.0]}}


def test_another_process_reads_what_a_fork_has_written() -> None:
    shared = SharedNumbers(2)

    child = os.fork()
    if not child:
        shared.write(1, COUNTED, {})
        os._exit(0)
    os.waitpid(child, 0)

    assert shared.counts(1) == COUNTED


def test_a_forked_worker_makes_other_ids() -> None:
    reads, writes = os.pipe()

    child = os.fork()
    if not child:
        os.write(writes, make_id())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writes)
    of_child = os.read(reads, 32)
    os.close(reads)

    assert MADE.match(of_child)
    assert of_child != make_id()
