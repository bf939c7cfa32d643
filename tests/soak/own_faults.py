"""Faults of replicas, workers, nginx, files, a clock and a disk."""

from __future__ import annotations

import os
import resource
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from soak.world import DOWN_S, World, kill
from support.peers.soak_site import SERVICE, family_of, frozen


def replica_killed(world: World) -> None:
    replica = world.mortal()
    for pid in [*replica.workers(), replica.process.pid]:
        kill(pid)
    replica.process.stop()
    time.sleep(world.chosen.uniform(0, 3))
    replica.start()


def parent_killed(world: World) -> None:
    replica = world.mortal()
    kill(replica.process.pid)
    time.sleep(world.chosen.uniform(0, 2))
    replica.process.stop()
    replica.start()


def replica_restarted(world: World) -> None:
    world.mortal().restart()


def replica_starts_without_store(world: World) -> None:
    replica = world.mortal()
    world.place.postgres.stop()
    try:
        replica.restart()
    finally:
        world.place.postgres.start()


def worker_killed(world: World) -> None:
    # Of the mortal ones: a new worker of the third would hide what the old one had kept.
    kill(world.chosen.choice(world.mortal().workers()))
    time.sleep(DOWN_S)


def worker_frozen(world: World) -> None:
    worker = world.any_worker()
    os.kill(worker, signal.SIGSTOP)
    time.sleep(world.chosen.uniform(0.5, 4))
    with suppress(ProcessLookupError):
        os.kill(worker, signal.SIGCONT)


def replica_frozen(world: World) -> None:
    with frozen(world.chosen.choice(world.place.replicas).process):
        time.sleep(world.chosen.uniform(0.5, 4))


def front_reloaded(world: World) -> None:
    pid = world.place.nginx.pid
    assert pid is not None
    os.kill(pid, signal.SIGHUP)
    time.sleep(1)


def front_worker_killed(world: World) -> None:
    pid = world.place.nginx.pid
    assert pid is not None
    kill(world.chosen.choice([child for child in family_of(pid) if child != pid]))
    time.sleep(1)


def keytab_rotated(world: World) -> None:
    world.place.kdc.add_keys(world.place.keytab, SERVICE)


def password_file_replaced(world: World) -> None:
    content = world.place.htpasswd.read_bytes()
    beside = world.place.htpasswd.with_suffix(".new")
    beside.write_bytes(b"# rewritten\n" + content[content.startswith(b"#") and len(b"# rewritten\n") :])
    beside.chmod(0o600)
    beside.replace(world.place.htpasswd)


def clock_moved(world: World) -> None:
    clock = world.place.clock
    clock.write_text(world.chosen.choice(("+20s", "-20s", "+1h", "-1h", "+2d", "-2d")) + "\n")
    try:
        time.sleep(world.chosen.uniform(3, 6))
    finally:
        clock.write_text("+0\n")
    # The library reads the file once a second.
    time.sleep(1.2)


def disk_full(world: World) -> None:
    with ExitStack() as stack:
        if world.place.has_small_disk:
            filler = world.place.small_disk / "filler"
            stack.callback(filler.unlink, missing_ok=True)
            _fill(filler)
        else:
            for pid in family_of(world.place.replicas[0].process.pid or 0):
                # Another user's disk is not ours to fill: files of the replica may just not grow.
                before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                stack.callback(_limit, pid, before)
                _limit(pid, (1, before[1]))
        time.sleep(world.chosen.uniform(2, 5))


def _fill(filler: Path) -> None:
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


def _limit(pid: int, limits: tuple[int, int]) -> None:
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
