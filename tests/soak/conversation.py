"""A client of HTTP/1.1 that costs little: one connection, one request after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ANSWER_S: Final = 40.0
"""Longer than any answer takes while a peer is unavailable."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        status: HTTP status; 0 when there was no whole answer.
        headers: By name in lower case; of a name that comes twice, the last.
        body: As received.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


NONE: Final = Reply(0, {}, b"")


class Connection:
    """A kept connection to a port of this machine; opens itself again where it has broken."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """Return the answer to a request; `NONE` when the connection breaks or nothing comes in `ANSWER_S`."""
        lines = [f"{method} {target} HTTP/1.1", "Host: site.example.org"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        sent = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._exchange(sent)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            self.close()
            return NONE

    def close(self) -> None:
        """End the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _exchange(self, sent: bytes) -> Reply:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(sent)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split(" ")[1])
        body = await self._body(self._reader, headers, status)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Reply(status, headers, body)

    @staticmethod
    async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str], status: int) -> bytes:
        if headers.get("transfer-encoding", "") == "chunked":
            pieces: list[bytes] = []
            while size := int((await reader.readuntil(b"\r\n")), 16):
                pieces.append(await reader.readexactly(size))
                await reader.readexactly(2)
            await reader.readexactly(2)
            return b"".join(pieces)
        if status in (204, 304):
            return b""
        return await reader.readexactly(int(headers["content-length"]))


async def ask_once(port: int, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
    """Return the answer to a request on a connection of its own."""
    connection = Connection(port)
    reply = await connection.ask(method, target, headers, body)
    connection.close()
    return reply
