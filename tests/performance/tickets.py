"""What a ticket costs that nobody has shown before, against Apache's mod_auth_gssapi."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from performance import servers
from performance.load import Sample, Target, request_head
from performance.programs import Program, find_program
from performance.table import Row, at_most, cpu, rate, ratios, wrong_in
from support.peers.apache import Apache
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets, negotiate

_CONNECTIONS = 8
# Each token is good once, and takes the client about as long as it takes the server.
_TOKENS_A_SECOND = 200
_MAPPING = '[[user]]\nusername = "alice"\n'


def fresh_tickets(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return P9: SPNEGO tokens of one user, each shown once, to the gateway and to Apache in turn."""
    for name, package in (("krb5kdc", "krb5-kdc krb5-admin-server krb5-user"), ("apache2", "apache2")):
        find_program(name, f"run: apt-get install {package}")
    count = round(_TOKENS_A_SECOND * seconds)
    with ExitStack() as stack:
        kdc = stack.enter_context(_realm())
        keytab = kdc.keytab("HTTP/localhost")
        apache = stack.enter_context(_apache(kdc, keytab))
        upstream = stack.enter_context(servers.upstream(folder))
        gate = stack.enter_context(_gateway(folder, upstream.port, kdc, keytab))
        tickets = Tickets(kdc)
        asked = servers.ASKED
        targets = [
            Target("gate", servers.FORWARD_AUTH, asked, gate, (gate,)),
            Target("apache", "/krb/", {}, apache, (apache,)),
        ]
        samples: dict[str, list[Sample]] = {target.name: [] for target in targets}
        for number in range(rounds + 1):
            for target in targets:
                sample = _spend(target, [tickets.token("alice") for _ in range(count if number else _CONNECTIONS)])
                if number:
                    samples[target.name].append(sample)
    ours, theirs = samples["gate"], samples["apache"]
    return [
        at_most(
            "P9",
            "Negotiate with a fresh token each time, forward-auth decision, CPU against Apache mod_auth_gssapi",
            1.3,
            ratios(ours, theirs, "cpu_us"),
            f"{cpu(ours)} to {cpu(theirs)}; {rate(ours)} to {rate(theirs)}",
            wrong_in(ours, theirs),
        )
    ]


@contextmanager
def _realm() -> Generator[Kdc]:
    kdc = Kdc()
    before = os.environ.get("KRB5_CONFIG")
    os.environ.update(kdc.env)
    try:
        kdc.start()
        yield kdc
    finally:
        kdc.remove()
        del os.environ["KRB5_CONFIG"]
        if before is not None:
            os.environ["KRB5_CONFIG"] = before


@contextmanager
def _apache(kdc: Kdc, keytab: Path) -> Generator[Program]:
    apache = Apache(kdc, keytab)
    try:
        apache.start()
        yield Program("apache", int(apache.url.rpartition(":")[2]), apache.process.pid or 0)
    finally:
        apache.remove()


@contextmanager
def _gateway(folder: Path, upstream_port: int, kdc: Kdc, keytab: Path) -> Generator[Program]:
    users = folder / "users.toml"
    users.write_text(_MAPPING)
    users.chmod(0o600)
    more = (
        f'kerberos = {{ keytab = "{keytab}", replay_cache = "{folder}/replays" }}\n'
        'lookup = { directories = ["mapping"] }\n'
        f'mapping = {{ file = "{users}" }}\n'
    )
    with servers.gateway(
        folder, upstream_port, name="tickets", auth_backends=["kerberos"], more=more, env=kdc.env
    ) as gate:
        yield gate


def _spend(target: Target, tokens: Sequence[bytes]) -> Sample:
    before = sum(program.cpu_s() for program in target.counted)
    began = time.monotonic()
    latencies, wrong = asyncio.run(_show(target, tokens))
    took_s = time.monotonic() - began
    spent = sum(program.cpu_s() for program in target.counted) - before
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * part)] * 1e6 for part in (0.5, 0.99))
    return Sample(len(tokens), len(tokens) / took_s, spent / len(tokens) * 1e6, p50, p99, wrong)


async def _show(target: Target, tokens: Sequence[bytes]) -> tuple[list[float], int]:
    waiting = list(tokens)
    latencies: list[float] = []
    wrong = 0

    async def one() -> None:
        nonlocal wrong
        reader, writer = await asyncio.open_connection("127.0.0.1", target.front.port)
        while waiting:
            began = time.monotonic()
            writer.write(request_head("GET", target.path, {**target.headers, **negotiate(waiting.pop())}))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            latencies.append(time.monotonic() - began)
            wrong += head.split(b" ", 2)[1] != b"200"
            if b"connection: close" in head:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", target.front.port)
        writer.close()

    await asyncio.gather(*(one() for _ in range(_CONNECTIONS)))
    return latencies, wrong
