"""Several processes count into one SQLite file, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from compat_auth.store.migration import open_store
from compat_auth.store.tables.usage import UsageRows

PROCESSES, ROUNDS, USERS = 3, 20, 10
COUNT = """
import sys
from compat_auth.identity import Identity
from compat_auth.store.migration import open_store
from compat_auth.store.tables.usage import UsageRows
from compat_auth.usage.recorder import UsageRecorder

rows = UsageRows(open_store(sys.argv[1]))
with rows.database.write():
    pass
recorder = UsageRecorder(rows, now=lambda: 1_800_000_000.0)
for _ in range(int(sys.argv[2])):
    for user in range(int(sys.argv[3])):
        recorder.count("GET", "/api/v1/dags", identity=Identity(f"user{user}", backend="basic_auth"))
    recorder.flush()
recorder.close()
"""


def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    command = [sys.executable, "-W", "error", "-c", COUNT, url, str(ROUNDS), str(USERS)]

    writers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(PROCESSES)]
    ends = [(writer.communicate(timeout=120)[1], writer.returncode) for writer in writers]

    rows = UsageRows(open_store(url))
    sums = rows.sums("principal")
    rows.close()
    assert ends == [(b"", 0)] * PROCESSES
    assert [row["count"] for row in sums] == [PROCESSES * ROUNDS] * USERS
