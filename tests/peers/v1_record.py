"""Record what a live 3.3 answers to the calls of translated requests, beside what a live 2.11 answers to the requests.

The recording lets the unit tests replay real answers without an Airflow. To make it anew, from the tests' folder:

    python -m peers.v1_record
"""

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

from compat_auth.airflow.v1.catalog import ROUTER
from compat_auth.airflow.v1.driver import Request, plan
from compat_auth.airflow.v1.facts import Facts
from compat_auth.airflow.v1.messages import Answer as V2Answer
from compat_auth.airflow.v1.messages import Call, Reply
from compat_auth.airflow.v1.problems import V1Problem
from peers.airflows import Airflow
from peers.gateway import call
from peers.v1_compare import Answer, differences
from peers.v1_pairs import FAMILIES, NO_BODY, Pair
from peers.v1_sides import airflow2_with_runs, airflow3_with_runs, ask

RECORDING: Final = Path(__file__).parents[1] / "unit" / "airflow" / "v1" / "recorded.json"
_MAX_BYTES = 2500
# Where a home was when its DAGs were read: nobody's business.
_SEED = re.compile(r"/[^\"\\\s']*/seeds/\.[a-z0-9_]+-[a-z0-9_]+/")
_ADMIN = {"username": "admin", "password": "admin"}


def converse(airflow: Airflow, bearer: str, pair: Pair) -> tuple[Reply, list[dict[str, Any]]]:
    """Return the reply to a request, and each call with its answer."""
    path, _, query = pair.path.partition("?")
    asked = Request(pair.method, path, query, accept=pair.headers.get("Accept", ""))
    exchange: list[dict[str, Any]] = []
    facts = Facts()
    try:
        _, steps = plan(ROUTER, asked, facts)
        made: Call = next(steps)
        while True:
            headers = {"Authorization": f"Bearer {bearer}", "Accept": made.accept}
            answer = call(made.method, airflow.url + made.path, params=list(made.query), headers=headers)
            said = {"status": answer.status_code, "answer": answer.text}
            exchange.append(
                {"call": f"{made.method} {made.path}", "query": [list(pair) for pair in made.query], **said}
            )
            made = steps.send(V2Answer(answer.status_code, answer.content))
    except StopIteration as end:
        return end.value, exchange
    except V1Problem as problem:
        return problem.reply(), exchange


def readable(pairs: Iterator[Pair]) -> list[Pair]:
    """Return the requests that read JSON and need nothing of an earlier one."""
    return [
        replace(pair, keep={})
        for pair in {pair.name: pair for pair in pairs}.values()
        if pair.method == "GET"
        and pair.body is NO_BODY
        and pair.user == "admin"
        and "{" not in pair.path
        and ("/logs/" not in pair.path or pair.headers.get("Accept") == "application/json")
    ]


def record() -> None:
    """Write the recording: of each request on which both servers agree, the first of its operation."""
    with tempfile.TemporaryDirectory() as folder:
        old, new = airflow2_with_runs(Path(folder) / "2"), airflow3_with_runs(Path(folder) / "3")
        pairs = readable(chain.from_iterable(FAMILIES.values()))
        old.start()
        wanted = ask(old.url, pairs)
        old.stop()
        new.start()
        bearer = str(call("POST", f"{new.url}/auth/token", json=_ADMIN).json()["access_token"])
        entries: list[dict[str, Any]] = []
        for pair, answer in zip(pairs, wanted, strict=True):
            reply, exchange = converse(new, bearer, pair)
            found = Answer(reply.status, reply.content_type.partition(";")[0], reply.body)
            entry = {
                "request": f"{pair.method} {pair.path}",
                "accept": pair.headers.get("Accept", ""),
                "exchange": exchange,
                "old": {"status": answer.status, "type": answer.content_type, "body": answer.body.decode()},
            }
            text = json.dumps(entry, ensure_ascii=False)
            if len(text) <= _MAX_BYTES and not differences(answer, found):
                for home in (old.home, new.home):
                    text = text.replace(str(home), "/opt/airflow")
                entries.append(json.loads(_SEED.sub("/opt/airflow/", text)))
        new.stop()
    RECORDING.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record()
