"""`compat-auth docs`: this documentation, on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from compat_auth.cli.context import start_logging
from compat_auth.cli.manual.pages import Pages
from compat_auth.errors import ConfigError
from compat_auth.gateway.server.server import bind_socket, serve_here

_IN_PACKAGE = Path(__file__).with_name("pages")
_CHECKOUT = Path(__file__).resolve().parents[3]


@click.command()
@click.option(
    "--bind", default="127.0.0.1:8089", show_default=True, metavar="HOST:PORT", help="Address; port 0: a free one."
)
def docs(bind: str) -> None:
    """Serve the documentation of this version for a browser, without a network."""
    start_logging("WARNING")
    pages = Pages(find_pages())
    with bind_socket(bind, setting="--bind") as listener:
        host, port = listener.getsockname()[:2]
        click.echo(f"In a browser: http://{f'[{host}]' if ':' in host else host}:{port}/")
        click.echo("Ctrl-C ends it.", err=True)
        sys.exit(serve_here(pages, listener))


def find_pages(in_package: Path = _IN_PACKAGE, checkout: Path = _CHECKOUT) -> Path:
    """Return the folder with the built pages.

    Args:
        in_package: Where a release has them.
        checkout: A checkout, which has them in docs/_build once they are built.

    Raises:
        ConfigError: They are not built; says how to build them.
    """
    built = checkout / "docs" / "_build"
    for folder in (in_package, built):
        if (folder / "index.html").is_file():
            return folder
    if (checkout / "docs" / "conf.py").is_file():
        raise ConfigError(f"the documentation is not built; in {checkout} run: tox -e docs")
    raise ConfigError(
        f"{in_package}: this installation has no built documentation; install a released wheel, or read docs/ in the repository"
    )
