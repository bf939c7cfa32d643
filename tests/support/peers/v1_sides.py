"""Two servers with the same past, and what each answers to the pairs: 2.11 itself, and whatever serves `/api/v1` for 3.3."""

import json
import re
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, cast

from support.peers import seed
from support.peers.airflows import Airflow2, Airflow3
from support.peers.gateway import call
from support.peers.v1_compare import Answer
from support.peers.v1_pairs import NO_BODY, RUN, Pair

_NOW: Final = "2026-01-01 00:00:00.000000"
_LOGGED: Final = {"plain": ("number",), "mapped": ("double", 1)}
# The line of a log as each server's task writes it; what is said is the same.
_LINE_2: Final = "[2024-01-02T00:00:01.000+0000] {everyday.py:41} INFO - ä line\n"
_LINE_3: Final = json.dumps(
    {
        "timestamp": "2024-01-02T00:00:01Z",
        "level": "info",
        "event": "ä line",
        "logger": "task",
        "filename": "everyday.py",
        "lineno": 41,
    }
)


def airflow2_with_runs(folder: Path) -> Airflow2:
    """Return a 2.11, not started, with DAGs for every operation and one run of each that was run."""
    airflow = Airflow2(seed.AIRFLOW2_V1, folder)
    _write_logs(airflow.home, _LINE_2)
    # What runs tasks in one process leaves out what a scheduler and a caller would have written.
    with closing(sqlite3.connect(airflow.home / "airflow.db")) as database, database:
        broken = (str(airflow.home / "dags" / "broken.py"), "RuntimeError: broken on purpose")
        database.execute("INSERT INTO import_error (timestamp, filename, stacktrace) VALUES (?, ?, ?)", (_NOW, *broken))
        database.execute("UPDATE task_instance SET start_date = end_date, duration = 0.0 WHERE start_date IS NULL")
    return airflow


def start_airflow2(airflow: Airflow2) -> None:
    """Start a 2.11 at which nobody is nobody: its stock setting gives callers without a credential a role."""
    airflow.restart(auth_role_public=None)


def airflow3_with_runs(folder: Path) -> Airflow3:
    """Return a 3.3 with FabAuthManager, not started, with the same past."""
    airflow = Airflow3(seed.FAB_V1, folder)
    _write_logs(airflow.home, f"{_LINE_3}\n")
    return airflow


def ask(url: str, pairs: Iterable[Pair]) -> list[Answer]:
    """Return a side's answers to requests in their order, what an earlier one gave put into later ones.

    Args:
        url: What stands before `/api/v1`.
        pairs: The requests.
    """
    kept: dict[str, object] = {}
    answers: list[Answer] = []
    for pair in pairs:
        path = filled(pair, kept)
        options: dict[str, Any] = {"headers": dict(pair.headers)}
        if pair.body is not NO_BODY:
            options["data"] = pair.body if isinstance(pair.body, bytes) else json.dumps(pair.body).encode()
            options["headers"]["Content-Type"] = "application/json"
        if pair.user:
            options["auth"] = (pair.user, pair.user)
        answer = call(pair.method, f"{url}/api/v1{path}", **options)
        content_type = answer.headers.get("Content-Type", "").partition(";")[0]
        answers.append(answered(pair, Answer(answer.status_code, content_type, answer.content), kept))
    return answers


def filled(pair: Pair, kept: Mapping[str, object]) -> str:
    """Return the path of a request, what earlier answers of the same side gave put into it."""
    return re.sub(r"\{(\w+)\}", lambda name: str(kept.get(name[1], "unkept")), pair.path)


def answered(pair: Pair, answer: Answer, kept: dict[str, object]) -> Answer:
    """Return the answer to a request, after keeping what later requests need of it."""
    for name, keys in pair.keep.items():
        kept[name] = _value_at(answer.content(), keys)
    return answer


def operation_of(pair: Pair, operations: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Return the operation (method, path template) that a request is for, the one with the fewest parameters first."""
    path = pair.path.partition("?")[0]
    for method, template in sorted(operations, key=lambda one: one[1].count("{")):
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if method == pair.method and re.fullmatch(pattern, path):
            return method, template
    return None


def _value_at(content: Any, keys: tuple[str | int, ...]) -> object:
    for key in keys:
        inner = cast("dict[str | int, Any]", content)
        content = inner[key]
    return content


def _write_logs(home: Path, line: str) -> None:
    shutil.rmtree(home / "logs", ignore_errors=True)
    for dag_id, (task_id, *index) in _LOGGED.items():
        folder = home / "logs" / f"dag_id={dag_id}" / f"run_id={RUN}" / f"task_id={task_id}"
        for number in index:
            folder /= f"map_index={number}"
        folder.mkdir(parents=True)
        (folder / "attempt=1.log").write_text(line, encoding="utf-8")
