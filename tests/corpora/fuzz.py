"""Grows the inputs of fuzz/: changes them at random and keeps what reaches a step between two lines that none reached before.

    python tests/corpora/fuzz.py PARSER [--seconds 60] [--seed 1]
    python tests/corpora/fuzz.py all

It stops at an exception that is not a refusal, keeps the input, and prints the trace. Each kept input is one file; its name is the
start of its SHA-256.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from corpora.fuzz_targets import TARGETS, Target, check  # found by the line above, wherever this is started

FOLDER = Path(__file__).with_name("fuzz")
_ROOT = str(Path(__file__).parents[2])
_LONGEST = 4096
# Where several at once are kept, the next runs take longer for nothing.
_MOST_KEPT = 60
_TOKENS = (
    *(b"%00", b"%2e", b"%2F", b"%25", b"%5c", b"..", b";", b"//", b"\\", b"\x00", b"\r\n", b"\n", b"\xff", b"\xc3\xa9"),
    *(
        b":",
        b",",
        b"=",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b"null",
        b"1e300",
        b"\\ud800",
        b"Basic ",
        b"Bearer ",
        b"Negotiate ",
    ),
    *(b"content-length: 5", b"transfer-encoding: chunked", b"host: a", b"cookie: _token=a", b"eyJ", b".", b" ", b"\t"),
)
Steps = set[tuple[str, int, int]]


def kept(name: str) -> Iterator[bytes]:
    """Yield the kept inputs of a parser, in the order of their names."""
    for path in sorted((FOLDER / name).glob("*")):
        yield path.read_bytes()


def steps_of(target: Target, data: bytes) -> Steps:
    """Return the steps between two lines of our own code that an input makes; an exception that is no refusal goes on."""
    steps: Steps = set()
    last: dict[str, int] = {}

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(_ROOT) or "/tests/" in name:
            return None
        if event == "line":
            steps.add((name, last.get(name, 0), frame.f_lineno))
            last[name] = frame.f_lineno
        return trace

    # coverage.py traces the tests with the same function: its tracer is put back.
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        check(target, data)
    finally:
        sys.settrace(before)
    return steps


def changed(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Return an input with one to four random changes."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(out))
        match chance.randrange(6):
            case 0:
                out[at:at] = chance.choice(_TOKENS)
            case 1:
                del out[at : at + chance.randint(1, 8)]
            case 2 if out:
                out[min(at, len(out) - 1)] = chance.randrange(256)
            case 3:
                out[at:at] = out[at : at + chance.randint(1, 16)]
            case 4:
                other = chance.choice(others)
                out[at:] = other[chance.randint(0, len(other)) :]
            case _:
                out[at:at] = bytes((chance.randrange(256),))
    return bytes(out[:_LONGEST])


def grow(name: str, *, seconds: float, seed: int) -> tuple[int, int]:
    """Grow the inputs of a parser; return how many inputs were tried and how many were added.

    Raises:
        Exception: Whatever the parser raises that is not a refusal; the input is kept.
    """
    target, chance = TARGETS[name], random.Random(seed)  # noqa: S311  # not a secret
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    reached: Steps = set()
    pool: list[bytes] = []
    for data in (*target.seeds(), *kept(name)):
        reached |= steps_of(target, data)
        pool.append(data)
    tried = added = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until and len(list(folder.iterdir())) < _MOST_KEPT:
        data = changed(chance.choice(pool), pool, chance)
        tried += 1
        try:
            steps = steps_of(target, data)
        except Exception:
            _keep(folder, data)
            raise
        if not steps <= reached:
            reached |= steps
            pool.append(data)
            _keep(folder, data)
            added += 1
    return tried, added


def _keep(folder: Path, data: bytes) -> None:
    (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parser", choices=["all", *TARGETS])
    parser.add_argument("--seconds", type=float, default=60, help="for each parser (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random changes (default: %(default)s)")
    options = parser.parse_args(arguments)
    code = 0
    for name in TARGETS if options.parser == "all" else [options.parser]:
        try:
            tried, added = grow(name, seconds=options.seconds, seed=options.seed)
        except Exception:  # noqa: BLE001  # it is the finding
            sys.stdout.write(f"{name}: an exception that is not a refusal; its input is kept\n{traceback.format_exc()}")
            code = 1
        else:
            sys.stdout.write(f"{name}: {tried} inputs tried, {added} added\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
