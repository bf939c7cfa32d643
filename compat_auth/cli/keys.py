"""`compat-auth keys`: the signing keys, and the JWKS that upstreams read."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from compat_auth.cli import context
from compat_auth.cli.terminal.table import print_table
from compat_auth.concurrency.clock import unix_now
from compat_auth.tokens.jose.jwk import KeyAlgorithm
from compat_auth.tokens.keys.key_file import StoredKey, read_key_file
from compat_auth.tokens.keys.keys import (
    OVERLAP_S,
    create_keys,
    key_state,
    merge_jwks,
    public_jwks,
    retire_key,
    rotate_keys,
)

_file_option = click.option(
    "--file", "path", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The key file."
)


@click.group("keys")
def keys() -> None:
    """Signing keys for [token] strategy = "key_pair"."""


@keys.command("create")
@_file_option
@click.option(
    "--algorithm", type=click.Choice(["EdDSA", "RS256"]), default="EdDSA", show_default=True, help="What it signs with."
)
def create(path: Path, algorithm: KeyAlgorithm) -> None:
    """Create a key file with one key, which signs at once."""
    key = create_keys(path, algorithm=algorithm, now=unix_now())
    context.record("key created", f"{path}: {key.kid}", command="keys create")
    click.echo(f"{path}: key {key.kid} ({key.algorithm}) signs now; set [token] key_file to this file")


@keys.command("list")
@_file_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_keys(path: Path, as_json: bool) -> None:
    """List every key with its state and its times."""
    now = unix_now()
    stored = read_key_file(path).keys
    if as_json:
        click.echo(json.dumps([_describe(key, stored, now) for key in stored], indent=2))
        return
    rows = [
        (
            key.kid,
            key.algorithm,
            key_state(key, stored, now),
            _utc(key.signs_from),
            "-" if key.retires is None else _utc(key.retires),
        )
        for key in stored
    ]
    print_table(
        ("KEY", "ALGORITHM", "STATE", "SIGNS FROM", "RETIRES"),
        rows,
        plain="{0}  {1:<6} {2:<8} signs from {3}  retires {4}",
    )


@keys.command("rotate")
@_file_option
@click.option(
    "--overlap",
    "overlap_s",
    type=click.IntRange(0),
    default=OVERLAP_S,
    show_default=True,
    help="Seconds from publication to signing, and from the successor's first signature to retirement. Airflow fetches a JWKS at most once an hour.",
)
def rotate(path: Path, overlap_s: int) -> None:
    """Add the next signing key; the current key retires after it."""
    now = unix_now()
    key = rotate_keys(path, overlap_s=overlap_s, now=now)
    context.record("key created", f"{path}: {key.kid}", command="keys rotate")
    click.echo(f"{path}: key {key.kid} ({key.algorithm}) is published now and signs from {_utc(key.signs_from)}")


@keys.command("retire")
@click.argument("kid")
@_file_option
@click.option("--force", is_flag=True, help="Also remove the last key that can sign.")
def retire(kid: str, path: Path, force: bool) -> None:
    """Remove a key at once, for example a stolen key."""
    retire_key(path, kid, force=force, now=unix_now())
    context.record("key retired", f"{path}: {kid}", command="keys retire")
    click.echo(f"{path}: key {kid} is removed; restart upstreams that read their JWKS only once")


@keys.command("jwks")
@_file_option
@click.option("--trusted", multiple=True, metavar="FILE[#kid=NAME]", help="Also publish the public keys of this file.")
def jwks(path: Path, trusted: tuple[str, ...]) -> None:
    """Print the public JWKS, for a file that Airflow's [api_auth] trusted_jwks_url names."""
    own = public_jwks(read_key_file(path).keys, unix_now())
    click.echo(json.dumps({"keys": merge_jwks(own, trusted)}, indent=2))


def _describe(key: StoredKey, stored: tuple[StoredKey, ...], now: int) -> dict[str, object]:
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": key_state(key, stored, now),
        "created": key.created,
        "signs_from": key.signs_from,
        "retires": key.retires,
    }


def _utc(timestamp: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))
