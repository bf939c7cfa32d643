"""A real browser: Debian's Chromium, which reaches nothing but this machine's loopback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.peers.place import axe_folder
from support.peers.process import Process, answers_http, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

START_S = 60
TIMEOUT_MS = 20_000
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # it wants user namespaces, which a container may not have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)


class Chromium:
    """One Chromium with a profile of its own.

    Args:
        folder: For the profile and the log.
        environ: Beyond PATH and HOME, such as where a Kerberos ticket is.
        flags: More command-line options.

    Attributes:
        process: The running browser.
    """

    def __init__(self, folder: Path, *, environ: Mapping[str, str] | None = None, flags: Sequence[str] = ()) -> None:
        self.process = Process("Chromium", folder / "log")
        self._folder = folder
        self._environ = dict(environ or {})
        self._flags = tuple(flags)
        self._url = ""

    def seed(self, state: Mapping[str, object]) -> None:
        """Write what an older profile would know (`Local State`); before the start."""
        profile = self._folder / "profile"
        profile.mkdir(exist_ok=True)
        (profile / "Local State").write_text(json.dumps(state))

    def start(self) -> None:
        """Start it and return once it can be steered."""
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        command = [
            _program(),
            *_FLAGS,
            *self._flags,
            f"--user-data-dir={self._folder / 'profile'}",
            f"--remote-debugging-port={port}",
            "about:blank",
        ]
        environ = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self._folder), **self._environ}
        self.process.start(
            command, env=environ, is_ready=lambda: answers_http(f"{self._url}/json/version"), timeout_s=START_S
        )

    def stop(self) -> None:
        """End it, by its process id."""
        self.process.stop()

    @contextmanager
    def steered(self) -> Generator[Browser]:
        """Yield Playwright's view of the browser; its first context is the profile itself."""
        # Every run reads this module; Playwright takes a second to import.
        from playwright.sync_api import sync_playwright  # noqa: PLC0415

        # Only for the length of a test: Playwright's event loop would be in the way of asynchronous tests.
        with sync_playwright() as playwright:
            yield playwright.chromium.connect_over_cdp(self._url, timeout=TIMEOUT_MS)


@pytest.fixture(scope="session")
def chromium_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One running Chromium for all tests that need nothing special of it."""
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    browser.start()
    yield browser
    browser.stop()


@pytest.fixture
def chromium(chromium_process: Chromium) -> Iterator[BrowserContext]:
    """A private window of a real browser; `chromium.browser.new_context(…)` gives another, such as one without script."""
    with chromium_process.steered() as browser:
        yield new_window(browser)
        for context in browser.contexts[1:]:
            context.close()


def new_window(browser: Browser, *, javascript: bool = True) -> BrowserContext:
    """Return a new private window: no cookie, no cache, nothing remembered."""
    context = browser.new_context(java_script_enabled=javascript)
    context.set_default_timeout(TIMEOUT_MS)
    return context


def barriers(page: Page) -> list[str]:
    """Return what keeps people out of a page as it is shown, by the rules of axe-core."""
    page.evaluate((axe_folder() / "axe.min.js").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(all => all.violations)")
    return [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]


def _program() -> str:
    program = shutil.which("chromium")
    if program is None:
        pytest.fail(
            "the peer Chromium is not installed; run: apt-get install chromium fonts-dejavu-core", pytrace=False
        )
    return program
