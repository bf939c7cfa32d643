"""Load on a server: wrk where the client must cost less than the server, sockets of our own where it must misbehave."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from performance.programs import Program, find_program

_REPORT = Path(__file__).with_name("report.lua")


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked of which program.

    Attributes:
        name: For the table.
        path: Request target.
        headers: Sent with every request.
        front: The program that the client talks to.
        counted: The programs whose CPU counts.
    """

    name: str
    path: str
    headers: Mapping[str, str]
    front: Program
    counted: tuple[Program, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one window of load showed.

    Attributes:
        requests: Answered in the window.
        per_s: Requests a second.
        cpu_us: CPU microseconds of the counted programs for each request.
        p50_us: Median latency in microseconds.
        p99_us: 99th percentile of latency in microseconds.
        wrong: Answers that were not 2xx or 3xx, and broken connections.
    """

    requests: int
    per_s: float
    cpu_us: float
    p50_us: float
    p99_us: float
    wrong: int


def basic(username: str, password: str) -> str:
    """Return the Authorization value."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def load(target: Target, *, connections: int, seconds: float) -> Sample:
    """Ask as fast as the server answers, on kept connections, for so many whole seconds."""
    command = [find_program("wrk", "run: apt-get install wrk"), "-t1", f"-c{connections}", f"-d{round(seconds)}s"]
    command += ["--timeout", "30s", "-s", str(_REPORT)]
    for name, value in target.headers.items():
        command += ["-H", f"{name}: {value}"]
    before = sum(program.cpu_s() for program in target.counted)
    shown = subprocess.run(
        [*command, f"http://127.0.0.1:{target.front.port}{target.path}"], capture_output=True, text=True, check=True
    ).stdout
    spent = sum(program.cpu_s() for program in target.counted) - before
    (line,) = [line for line in shown.splitlines() if line.startswith("RESULT ")]
    requests, duration_us, p50, p99, wrong = map(int, line.split()[1:])
    return Sample(requests, requests / duration_us * 1e6, spent / max(1, requests) * 1e6, p50, p99, wrong)


def interleave(targets: Sequence[Target], *, connections: int, seconds: float, rounds: int) -> dict[str, list[Sample]]:
    """Load the targets in turn, A B A B, so that what else the machine does falls on all of them alike."""
    samples: dict[str, list[Sample]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            samples[target.name].append(load(target, connections=connections, seconds=seconds))
    return samples


def ask(port: int, path: str, headers: Mapping[str, str] | None = None, *, timeout_s: float = 30) -> tuple[int, bytes]:
    """Return the status and the raw answer to one GET on a connection of its own."""
    return asyncio.run(asyncio.wait_for(_ask(port, path, headers or {}), timeout_s))


async def _ask(port: int, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_head("GET", path, {**headers, "Connection": "close"}))
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer


def request_head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """Return a request head on the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def flood(port: int, path: str, *, connections: int, seconds: float) -> list[int]:
    """Send wrong passwords, each another, on kept connections; return the statuses of the answers."""
    ends = time.monotonic() + seconds
    statuses: list[int] = []

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while time.monotonic() < ends:
            count += 1
            writer.write(request_head("GET", path, {"Authorization": basic("user", f"wrong-{number}-{count}")}))
            head = await reader.readuntil(b"\r\n\r\n")
            statuses.append(int(head.split(b" ", 2)[1]))
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    await asyncio.gather(*(one(number) for number in range(connections)))
    return statuses
