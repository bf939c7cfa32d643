"""What a warm credential costs: forward-auth, full proxy, and the latency that either adds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from performance import servers
from performance.load import Sample, Target, ask, interleave
from performance.table import Row, at_least, at_most, cpu, rate, ratios, wrong_in

_LOGIN = {"Authorization": servers.AUTHORIZATION}
_ASKED = {**_LOGIN, **servers.ASKED}
CONNECTIONS = 32


def forward_auth(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return P1 and P2: a decision against an answer without any, on the same server and under Flask."""
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(folder))
        gate = stack.enter_context(servers.gateway(folder, upstream.port))
        starlette = stack.enter_context(servers.bare_starlette(folder))
        flask = stack.enter_context(servers.bare_flask(folder))
        expect_token(gate.port)
        targets = [
            Target("starlette", "/", _ASKED, starlette, (starlette,)),
            Target("gate", servers.FORWARD_AUTH, _ASKED, gate, (gate,)),
            Target("flask", "/", _ASKED, flask, (flask,)),
        ]
        interleave(targets, connections=CONNECTIONS, seconds=1, rounds=1)
        found = interleave(targets, connections=CONNECTIONS, seconds=seconds, rounds=rounds)
    ours, starlettes, flasks = found["gate"], found["starlette"], found["flask"]
    return [
        at_most(
            "P1",
            "warm forward-auth decision, CPU against a bare Starlette answer on the same server",
            1.25,
            ratios(ours, starlettes, "cpu_us"),
            f"{cpu(ours)} to {cpu(starlettes)}; {rate(ours)} to {rate(starlettes)}",
            wrong_in(ours, starlettes),
        ),
        at_most(
            "P2",
            "the same against a bare Flask 204 under gunicorn",
            0.15,
            ratios(ours, flasks, "cpu_us"),
            f"{cpu(ours)} to {cpu(flasks)}; {rate(ours)} to {rate(flasks)}",
            wrong_in(ours, flasks),
        ),
    ]


def fab_check(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return P3: a warm Basic login against FAB's own check of the password."""
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(folder))
        gate = stack.enter_context(servers.gateway(folder, upstream.port))
        fab = stack.enter_context(servers.fab_check(folder))
        expect_token(gate.port)
        expect(fab.port, "/check", _LOGIN, 204)
        # Two connections: with more, hashes that nobody waits for any longer would run into the next window.
        targets = [
            Target("gate", servers.FORWARD_AUTH, _ASKED, gate, (gate,)),
            Target("fab", "/check", _LOGIN, fab, (fab,)),
        ]
        found = interleave(targets, connections=2, seconds=seconds, rounds=rounds)
    ours, fabs = found["gate"], found["fab"]
    return [
        at_least(
            "P3",
            "warm Basic against FAB's own check (scrypt), times cheaper in CPU",
            2000,
            ratios(fabs, ours, "cpu_us"),
            f"{cpu(ours)} to {cpu(fabs)}; {rate(ours)} to {rate(fabs)}",
            wrong_in(ours, fabs),
        )
    ]


def full_proxy(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return P4, P5, P6 and both P10: the whole way to the upstream and back."""
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(folder))
        gate = stack.enter_context(servers.gateway(folder, upstream.port))
        nginx = stack.enter_context(servers.nginx_front(folder, upstream.port, gate.port))
        caddy = stack.enter_context(servers.caddy(folder, upstream.port))
        expect_token(gate.port)
        for port, path in ((gate.port, servers.API), (nginx.port, servers.API), (nginx.port, "/plain/")):
            expect(port, path, _LOGIN, 200, servers.BODY)
        expect(nginx.port, servers.API, {}, 401)
        targets = [
            Target("direct", servers.API, _LOGIN, upstream, (upstream,)),
            Target("gateway", servers.API, _LOGIN, gate, (gate,)),
            Target("caddy", servers.API, _LOGIN, caddy, (caddy,)),
            Target("nginx", "/plain/", _LOGIN, nginx, (nginx,)),
            Target("nginx + gate", servers.API, _LOGIN, nginx, (nginx, gate)),
        ]
        interleave(targets, connections=CONNECTIONS, seconds=1, rounds=1)
        many = interleave(targets[1:], connections=CONNECTIONS, seconds=seconds, rounds=rounds)
        targets.remove(targets[2])
        one = interleave(targets, connections=1, seconds=seconds, rounds=rounds)
    ours, nginxes, caddies, both = many["gateway"], many["nginx"], many["caddy"], many["nginx + gate"]
    return [
        at_most(
            "P4",
            "full proxy, CPU against Caddy's reverse_proxy",
            1.0,
            ratios(ours, caddies, "cpu_us"),
            f"{cpu(ours)} to {cpu(caddies)}; {rate(ours)} to {rate(caddies)}",
            wrong_in(ours, caddies),
        ),
        at_least(
            "P5",
            "full proxy, throughput against nginx proxy_pass",
            0.20,
            ratios(ours, nginxes, "per_s"),
            f"{rate(ours)} to {rate(nginxes)}; {cpu(ours)} to {cpu(nginxes)}",
            wrong_in(ours, nginxes),
        ),
        at_least(
            "P6",
            "nginx auth_request + gate, throughput against plain nginx proxy_pass",
            0.55,
            ratios(both, nginxes, "per_s"),
            f"{rate(both)} to {rate(nginxes)}; {cpu(both)} to {cpu(nginxes)}",
            wrong_in(both, nginxes),
        ),
        at_most(
            "P10a",
            "added p50 at one connection: gateway over direct",
            0.20,
            _added_ms(one["gateway"], one["direct"]),
            f"{_p50(one['gateway'])} over {_p50(one['direct'])}",
            wrong_in(one["gateway"], one["direct"]),
            "ms",
        ),
        at_most(
            "P10b",
            "added p50 at one connection: nginx auth_request + gate over plain nginx",
            0.10,
            _added_ms(one["nginx + gate"], one["nginx"]),
            f"{_p50(one['nginx + gate'])} over {_p50(one['nginx'])}",
            wrong_in(one["nginx + gate"], one["nginx"]),
            "ms",
        ),
    ]


def expect(port: int, path: str, headers: dict[str, str], status: int, text: str = "") -> None:
    """Ask once, so that the credential is warm and the answer is known to be right before any is counted.

    Raises:
        AssertionError: The answer is another.
    """
    found, answer = ask(port, path, headers)
    if found != status or text.encode() not in answer:
        raise AssertionError(f"port {port} {path}: {found}, not {status}, or without the upstream's text")


def expect_token(port: int) -> None:
    """Ask a gateway for a forward-auth decision, which must carry a token.

    Raises:
        AssertionError: It does not.
    """
    expect(port, servers.FORWARD_AUTH, _ASKED, 200, "authorization: Bearer ey")


def _added_ms(slower: Sequence[Sample], faster: Sequence[Sample]) -> list[float]:
    return [(slow.p50_us - fast.p50_us) / 1000 for slow, fast in zip(slower, faster, strict=True)]


def _p50(samples: Sequence[Sample]) -> str:
    middle = sorted(sample.p50_us for sample in samples)[len(samples) // 2]
    return f"{middle:.0f} us"
