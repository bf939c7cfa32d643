"""What each replica holds: memory, threads, file descriptors; and whether that has grown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1024
# A full run may reach these and no more: caches fill, pools of threads and connections reach their sizes.
MORE_MEMORY: Final = 1.25
MORE_MEMORY_MIB: Final = 12.0
MORE_THREADS: Final = 16
MORE_FILES: Final = 40


@dataclass(frozen=True, slots=True)
class Held:
    """What a family of processes holds.

    Attributes:
        processes: How many there are.
        memory_mib: Proportional set size: shared pages count by their share.
        threads: Of all processes.
        files: Open file descriptors of all processes.
    """

    processes: int = 0
    memory_mib: float = 0.0
    threads: int = 0
    files: int = 0


def measure(pids: Iterable[int]) -> Held:
    """Return what the processes hold that are alive."""
    processes, memory_kib, threads, files = 0, 0, 0, 0
    for pid in pids:
        home = Path(f"/proc/{pid}")
        # A process may end meanwhile.
        with suppress(OSError, StopIteration):
            rollup = (home / "smaps_rollup").read_text().splitlines()
            memory_kib += int(next(line for line in rollup if line.startswith("Pss:")).split()[1])
            threads += len(list((home / "task").iterdir()))
            files += len(list((home / "fd").iterdir()))
            processes += 1
    return Held(processes, round(memory_kib / MIB, 1), threads, files)


def grown(before: Held, after: Held) -> Mapping[str, str]:
    """Return what is beyond its bound, by name; empty when nothing is."""
    found: dict[str, str] = {}
    bound = before.memory_mib * MORE_MEMORY + MORE_MEMORY_MIB
    if after.memory_mib > bound:
        found["memory"] = f"{before.memory_mib} to {after.memory_mib} MiB, bound {bound:.1f}"
    for name, more in (("threads", MORE_THREADS), ("files", MORE_FILES), ("processes", 0)):
        first, last = getattr(before, name), getattr(after, name)
        if last > first + more:
            found[name] = f"{first} to {last}, bound {first + more}"
    return found
