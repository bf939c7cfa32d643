"""A site whose configuration is reloaded, and clients that ask it without a pause meanwhile."""

from __future__ import annotations

import asyncio
import http.client
import signal
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from support.peers.front_site import FrontSite, ask
from support.peers.gateway import toml

RELOAD_S: Final = 90.0
_CLIENTS: Final = 8
# A client opens another connection after this many requests, and after `Connection: close`.
_PER_CONNECTION: Final = 40


def until(holds: Callable[[], bool], within_s: float = RELOAD_S) -> bool:
    """Wait until something holds, and return whether it does."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Reloaded:
    """A site and its reloads.

    Attributes:
        site: The site.
    """

    def __init__(self, site: FrontSite) -> None:
        self.site = site

    @property
    def config(self) -> dict[str, Any]:
        """What its configuration file says."""
        return tomllib.loads((self.site.folder / "compat_auth.toml").read_text(encoding="utf-8"))

    def write(self, content: dict[str, Any]) -> None:
        """Write another configuration, at once."""
        aside = self.site.folder / "next.toml"
        aside.write_text(toml(content), encoding="utf-8")
        aside.replace(self.site.folder / "compat_auth.toml")

    def change(self, **sections: Any) -> None:
        """Write the configuration with other sections; the keys of a section that are not named stay."""
        content = self.config
        for name, value in sections.items():
            content[name] = {**content.get(name, {}), **value} if isinstance(value, dict) else value
        self.write(content)

    def ask(self) -> None:
        """Ask for a reload."""
        self.site.signal(signal.SIGHUP)

    @property
    def done(self) -> int:
        """How many configurations have replaced another one."""
        return self.site.log.count(" serves after ")

    @property
    def failed(self) -> int:
        """How many reloads have failed."""
        return self.site.log.count("the configuration is not reloaded")

    def reload(self) -> bool:
        """Reload, and return whether another configuration serves."""
        done, failed = self.done, self.failed
        self.ask()
        assert until(lambda: self.done > done or self.failed > failed), self.site.log[-2000:]
        return self.done > done

    def ready(self) -> dict[str, Any]:
        """Return what `ready` says."""
        answer = ask(self.site.url, "/compat-auth/ready")
        assert answer.status == 200, answer.body
        content: dict[str, Any] = answer.json()
        return content

    def workers(self) -> set[int]:
        """Return the processes that the command has forked and that live."""
        living = {"running", "sleeping", "disk-sleep", "stopped", "idle", "waking"}
        return {one.pid for one in self.site.command.children() if one.status() in living}

    def metrics(self) -> dict[str, float]:
        """Return the metrics, by name with labels."""
        answer = ask(f"http://{self.config['metrics']['bind']}", "/metrics")
        lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


class Load:
    """Clients that ask without a pause, in a thread of their own.

    Attributes:
        count: How many answers there were.
        bad: What went wrong, and how often.
    """

    def __init__(self, url: str, headers: str) -> None:
        self.count = 0
        self.bad: Counter[str] = Counter()
        self._address = urlsplit(url)
        self._headers = headers
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, once each client has its last answer."""
        self._is_over.set()
        self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(*(self._ask_on_and_on(number) for number in range(_CLIENTS)))

    async def _ask_on_and_on(self, number: int) -> None:
        while not self._is_over.is_set():
            try:
                reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
            except OSError as error:
                self.bad[f"connect: {type(error).__name__}"] += 1
                continue
            try:
                await self._use(reader, writer, number)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.bad[type(error).__name__] += 1
            finally:
                writer.close()

    async def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        for turn in range(_PER_CONNECTION):
            body = b"x" * 100 if (turn + number) % 4 == 0 else b""
            method = "POST" if body else "GET"
            writer.write(
                f"{method} /api/x HTTP/1.1\r\nHost: {self._address.netloc}\r\n{self._headers}"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            await asyncio.wait_for(reader.readexactly(length), 60)
            status = head.split(b" ", 2)[1].decode()
            self.count += 1
            if status != "200":
                self.bad[f"status {status}"] += 1
            if b"\r\nconnection: close" in head or self._is_over.is_set():
                return


@contextmanager
def under_load(site: FrontSite, authorization: str) -> Generator[Load]:
    """Ask the site without a pause during the block."""
    load = Load(site.url, f"Authorization: {authorization}\r\n")
    load.start()
    try:
        yield load
    finally:
        load.stop()


def outcomes(site: FrontSite, count: int, *headers: tuple[str, str]) -> set[int | str]:
    """Return the different answers to requests, each on a connection of its own."""
    found: set[int | str] = set()
    for _ in range(count):
        try:
            found.add(ask(site.url, "/api/x", *headers).status)
        except (OSError, http.client.HTTPException) as error:
            found.add(type(error).__name__)
    return found
