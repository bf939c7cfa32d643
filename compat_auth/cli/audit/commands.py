"""`compat-auth audit`: verifies the audit log."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TextIO

import click

from compat_auth.audit.verification import ChainVerifier
from compat_auth.cli.context import config_option
from compat_auth.config import load_settings
from compat_auth.errors import InvalidValue

BROKEN = 1
"""Exit code where a line breaks a chain, or where there is no event."""


def _opened(file: str, argument: str) -> TextIO:
    """Open a file.

    Raises:
        InvalidValue: It cannot be read.
    """
    try:
        return Path(file).open(encoding="utf-8", errors="surrogateescape")
    except OSError as exc:
        raise InvalidValue(f"{argument}: {file}: cannot be read ({exc.strerror}); name a file of the log") from None


@click.group()
def audit() -> None:
    """Verify the audit log."""


@audit.command("verify")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@config_option
@click.option("--key-file", metavar="FILE", help="Text file with [audit] chain_key; default: that of the configuration.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs: holds, events, chains, keyed, fault, torn, late.")
def verify(files: tuple[str, ...], config_path: str | None, key_file: str | None, *, as_json: bool) -> None:
    """Check that no event of an audit log was changed, removed or inserted.

    FILE is a log of `serve` or an audit file; give rotated files in order, the oldest first. The command prints how many
    events hold, or names the first line that does not and exits with 1, as it does if it finds no event. It cannot see that the last events of a
    process were removed, or all events of one. Without a key, it cannot see that somebody computed all hashes again.
    """
    key = _key(config_path, key_file)
    verifier = ChainVerifier(key.encode())

    def show(fault: dict[str, object] | None = None) -> None:
        if as_json:
            click.echo(json.dumps(_describe(verifier, files, bool(key), fault), ensure_ascii=False, indent=2))

    for file in files:
        before = verifier.events
        with _opened(file, "FILE") as lines:
            fault = verifier.find_fault(lines)
        if fault is not None:
            number, reason = fault
            click.echo(f"{file}:{number}: {reason}", err=True)
            show({"file": file, "line": number, "reason": reason})
            sys.exit(BROKEN)
        if verifier.events == before:
            click.echo(f"warning: {file}: has no audit event; unpack a compressed file first", err=True)
    for place, number in verifier.torn:
        click.echo(
            f"warning: {files[place - 1]}:{number}: a torn line: the disk was full, or a process was killed", err=True
        )
    if not verifier.events:
        click.echo("no audit event was found; name a log of serve or a file of audit.file", err=True)
        show()
        sys.exit(BROKEN)
    for chain, first in verifier.late.items():
        click.echo(
            f"warning: chain {chain} begins with event {first}: give the file with the events before it, too", err=True
        )
    if as_json:
        show()
        return
    click.echo(
        f"{verifier.events} events in {verifier.chains} chains hold" + ("" if key else " (hashes without a key)")
    )


def _key(config_path: str | None, key_file: str | None) -> str:
    if key_file is None:
        return load_settings(config_path).audit.chain_key.get_secret_value()
    with _opened(key_file, "--key-file") as text:
        return text.read().strip()


def _describe(
    verifier: ChainVerifier, files: tuple[str, ...], is_keyed: bool, fault: dict[str, object] | None
) -> dict[str, object]:
    """Return the result for programs; it holds if there are events and no fault."""
    return {
        "holds": fault is None and verifier.events > 0,
        "events": verifier.events,
        "chains": verifier.chains,
        "keyed": is_keyed,
        "fault": fault,
        "torn": [{"file": files[place - 1], "line": number} for place, number in verifier.torn],
        "late": [{"chain": chain, "first": first} for chain, first in verifier.late.items()],
    }
