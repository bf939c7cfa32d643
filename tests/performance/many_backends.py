"""What a long chain costs: the last of fifty backends matches, against the only one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from performance import servers
from performance.load import Sample, Target, interleave
from performance.table import Row, at_most, cpu, rate, ratios, wrong_in
from performance.warm import CONNECTIONS, expect_token

_ASKED = {"Authorization": servers.AUTHORIZATION, **servers.ASKED}
_MANY = 50
# What is cold is the verdict; a costly hash would hide the chain.
_CHEAP_HASH = "pbkdf2:sha256:1"


def long_chain(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return both P14: with a remembered verdict, and with every backend asked at each request."""
    warm = _measure(folder / "warm", seconds, rounds, cache_ttl_s=600, connections=CONNECTIONS)
    # One connection: of several that ask at once with one credential, only the first is judged.
    cold = _measure(folder / "cold", seconds, rounds, cache_ttl_s=0, connections=1)
    what = f"{_MANY} backends in the chain, the last one matching, CPU against one backend"
    return [
        at_most(
            row_id,
            f"{what}: {state}",
            1.1,
            ratios(found["many"], found["one"], "cpu_us"),
            f"{cpu(found['many'])} to {cpu(found['one'])}; {rate(found['many'])} to {rate(found['one'])}",
            wrong_in(found["many"], found["one"]),
        )
        for row_id, state, found in (("P14a", "warm", warm), ("P14b", "cold, a hash that costs nothing", cold))
    ]


def _measure(
    folder: Path, seconds: float, rounds: int, *, cache_ttl_s: float, connections: int
) -> dict[str, list[Sample]]:
    folder.mkdir()
    servers.make_airflow_database(folder, method=_CHEAP_HASH)
    idle = [f"idle_backends.Idle{number}" for number in range(1, _MANY)]
    chains = {"one": ["basic_auth"], "many": [*idle, "basic_auth"]}
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(folder))
        targets: list[Target] = []
        for name, chain in chains.items():
            gate = stack.enter_context(
                servers.gateway(folder, upstream.port, name=name, cache_ttl_s=cache_ttl_s, auth_backends=chain)
            )
            expect_token(gate.port)
            targets.append(Target(name, servers.FORWARD_AUTH, _ASKED, gate, (gate,)))
        interleave(targets, connections=connections, seconds=1, rounds=1)
        return interleave(targets, connections=connections, seconds=seconds, rounds=rounds)
