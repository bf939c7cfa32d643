"""Record what a live 3.3 answers to the calls of translated requests, beside what a live 2.11 answers to the requests.

The recording lets the unit tests replay real answers without an Airflow. To make it anew, from the tests' folder, one
part or both:

    python -m support.peers.v1_record reads writes
"""

import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

from compat_auth.airflow.v1.catalog import ROUTER
from compat_auth.airflow.v1.driver import Request, plan
from compat_auth.airflow.v1.messages import Answer as V2Answer
from compat_auth.airflow.v1.messages import Call, Reply
from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.airflow.v1.upstream_facts import UpstreamFacts
from support.peers.airflows import Airflow2, Airflow3
from support.peers.gateway import call
from support.peers.v1_compare import Answer, differences
from support.peers.v1_pairs import FAMILIES, NO_BODY, Pair
from support.peers.v1_sides import airflow2_with_runs, airflow3_with_runs, answered, ask, filled

UNIT: Final = Path(__file__).parents[2] / "unit" / "airflow" / "v1"
_MAX_BYTES = 2500
# Where a home was when its DAGs were read: nobody's business.
_SEED = re.compile(r"/[^\"\\\s']*/seeds/\.[a-z0-9_]+-[a-z0-9_]+/")
_ADMIN = {"username": "admin", "password": "admin"}
Entry = dict[str, Any]


def converse(airflow: Airflow3, bearer: str, pair: Pair) -> tuple[Reply, Entry]:
    """Return the reply to a request, and what has been said: the request, and each call with its answer."""
    path, _, query = pair.path.partition("?")
    moment = datetime.now(UTC)
    body = "" if pair.body is NO_BODY else pair.body.decode() if isinstance(pair.body, bytes) else json.dumps(pair.body)
    accept = pair.headers.get("Accept", "")
    exchange: list[Entry] = []
    said = {
        "request": f"{pair.method} {pair.path}",
        "body": body,
        "moment": moment.isoformat(),
        "accept": accept,
        "exchange": exchange,
    }
    try:
        asked = Request(pair.method, path, query, body.encode(), "application/json", accept)
        _, steps = plan(ROUTER, asked, UpstreamFacts(), moment)
        made: Call = next(steps)
        while True:
            headers = {"Authorization": f"Bearer {bearer}", "Accept": made.accept}
            sent: dict[str, Any] = {} if made.body is None else {"json": made.body}
            answer = call(made.method, airflow.url + made.path, params=list(made.query), headers=headers, **sent)
            exchange.append(
                {
                    "call": f"{made.method} {made.path}",
                    "query": [list(pair) for pair in made.query],
                    "body": made.body,
                    "status": answer.status_code,
                    "answer": answer.text,
                }
            )
            made = steps.send(V2Answer(answer.status_code, answer.content))
    except StopIteration as end:
        return end.value, said
    except V1Problem as problem:
        return problem.reply(), said


def reads() -> list[Pair]:
    """Return the requests that read JSON and need nothing of an earlier one."""
    return [
        replace(pair, keep={})
        for pair in {pair.name: pair for pair in chain.from_iterable(FAMILIES.values())}.values()
        if pair.method == "GET"
        and pair.body is NO_BODY
        and pair.user == "admin"
        and "{" not in pair.path
        and ("/logs/" not in pair.path or pair.headers.get("Accept") == "application/json")
    ]


def writes() -> list[Pair]:
    """Return what writes, and what later requests need, in their order: what one has changed, a later one finds."""
    pairs = chain.from_iterable(FAMILIES.values())
    return [pair for pair in pairs if pair.user == "admin" and (pair.method not in ("GET", "HEAD") or pair.keep)]


def is_read(pair: Pair) -> bool:
    """Return whether a request is for the recording of what reads."""
    return pair.method == "GET"


def is_write(pair: Pair) -> bool:
    """Return whether a request is for the recording of what writes."""
    return pair.method != "GET"


def entries(old: Airflow2, new: Airflow3, pairs: Iterable[Pair], is_wanted: Callable[[Pair], bool]) -> Iterator[Entry]:
    """Send requests to both servers and yield what was said about those that are wanted and on which both agree."""
    asked = list(pairs)
    old.start()
    wanted = ask(old.url, asked)
    old.stop()
    new.start()
    bearer = str(call("POST", f"{new.url}/auth/token", json=_ADMIN).json()["access_token"])
    kept: dict[str, object] = {}
    for pair, answer in zip(asked, wanted, strict=True):
        reply, said = converse(new, bearer, replace(pair, path=filled(pair, kept)))
        found = answered(pair, Answer(reply.status, reply.content_type.partition(";")[0], reply.body), kept)
        entry = {**said, "old": {"status": answer.status, "type": answer.content_type, "body": answer.body.decode()}}
        text = json.dumps(entry, ensure_ascii=False)
        agree = not differences(answer, found, ordered="order_by" in pair.name)
        if is_wanted(pair) and agree and len(text) <= _MAX_BYTES:
            for home in (old.home, new.home):
                text = text.replace(str(home), "/opt/airflow")
            yield json.loads(_SEED.sub("/opt/airflow/", text))
    new.stop()


def record(name: str, pairs: Iterable[Pair], is_wanted: Callable[[Pair], bool]) -> None:
    """Write a recording."""
    with tempfile.TemporaryDirectory() as folder:
        old, new = airflow2_with_runs(Path(folder) / "2"), airflow3_with_runs(Path(folder) / "3")
        found = list(entries(old, new, pairs, is_wanted))
    content = json.dumps(found, indent=1, ensure_ascii=False)
    (UNIT / name).write_text(f"{content}\n", encoding="utf-8")


if __name__ == "__main__":
    if "reads" in sys.argv:
        record("recorded.json", reads(), is_read)
    if "writes" in sys.argv:
        record("recorded_writes.json", writes(), is_write)
