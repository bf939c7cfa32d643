"""`compat-auth curl`: the system's curl, with a token that no other user of the machine can see."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import click

from compat_auth.client.curl_line import read_help, urls_of
from compat_auth.client.origin import parse_server, parse_url
from compat_auth.client.saved_logins import SavedLogin, SavedLogins
from compat_auth.client.shell_login import token_of
from compat_auth.errors import CurlLineRefused


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, required=True)
def curl(arguments: tuple[str, ...]) -> None:
    """Run curl with ARGUMENTS and a short-lived token of your login.

    A URL may be only a path, such as /api/v2/dags, if you are logged in at one server only. Every URL must be at the
    server of your login. The token is in no argument and no environment variable; curl does not read ~/.curlrc.
    Exits with curl's exit status.

    Example: compat-auth curl -sS /api/v2/dags?limit=1
    """
    program = shutil.which("curl")
    if program is None:
        raise click.UsageError("curl is not installed")
    listed = subprocess.run([program, "--help", "all"], capture_output=True, check=True, text=True)  # noqa: S603  # curl itself
    line = list(arguments)
    places = list(urls_of(arguments, read_help(listed.stdout)))
    saved = SavedLogins()
    login = _login_for([line[place] for place in places], saved)
    for place in places:
        line[place] = _whole_url(line[place], login)
    sys.exit(_run(program, line, token_of(saved, login), is_http=login.server.startswith("http:")))


def _login_for(urls: list[str], saved: SavedLogins) -> SavedLogin:
    if not urls:
        raise CurlLineRefused("no URL; give one, or a path such as /api/v2/dags")
    whole = [url for url in urls if not url.startswith("/")]
    if not whole:
        return saved.find()
    origin, _ = parse_url(whole[0])
    at_origin = [login for login in saved.all() if parse_server(login.server, allow_http=True).origin == origin]
    return at_origin[0] if len(at_origin) == 1 else saved.find(str(origin))


def _whole_url(url: str, login: SavedLogin) -> str:
    server = parse_server(login.server, allow_http=True)
    whole = server.base + url if url.startswith("/") else url
    origin, path = parse_url(whole)
    if origin != server.origin:
        raise CurlLineRefused(f"{origin}: not the server of this login ({server.origin}); use plain curl for that")
    # Built from our own parser's result: we and curl cannot disagree about the host.
    return f"{origin}{path}"


def _run(program: str, arguments: list[str], token: str, *, is_http: bool) -> int:
    quoted = token.replace("\\", "\\\\").replace('"', '\\"')
    lines = [f'header = "Authorization: Bearer {quoted}"']
    if is_http:
        # A proxy could read the token.
        lines.append('noproxy = "*"')
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb") as config:
        # Our token fits into the pipe's buffer before curl reads it. Standard input stays free for `--data @-`.
        config.write("\n".join([*lines, ""]).encode("ascii"))
        config.close()
        # -q first: a ~/.curlrc could contain --location-trusted or --trace.
        command = [program, "-q", "--config", f"/dev/fd/{reading}", *arguments]
        return subprocess.run(command, pass_fds=(reading,), check=False).returncode  # noqa: S603  # the user's own line
