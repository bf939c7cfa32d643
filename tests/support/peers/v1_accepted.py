"""The differences between 2.11's `/api/v1` and ours that are meant, each with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Accepted:
    """A difference that is meant.

    Attributes:
        request: Pattern of the request's name.
        where: Pattern of the place in the answer.
        reason: Why nobody has to mend it.
    """

    request: str
    where: str
    reason: str

    def covers(self, name: str, where: str) -> bool:
        """Return whether this is the difference at that place of the answer to that request."""
        return re.search(self.request, name) is not None and re.fullmatch(self.where, where) is not None


_ANYTHING: Final = ".*"

ACCEPTED: Final = (
    Accepted("^GET /version", "version|git_version", "It says which Airflow answers."),
    Accepted("^GET /providers$", _ANYTHING, "What is installed is the server's own."),
    Accepted("^GET /config", r"body|sections\[\].*", "What is configured is the server's own."),
    Accepted("^GET /nosuch as nobody$", _ANYTHING, "Who is nobody is not told which paths there are."),
    Accepted("^(GET|PATCH) /dags", r"(dags\[\]\.)?schedule_interval\.value", "3.3 spells presets such as @daily out."),
    Accepted("/tasks", r"(tasks\[\]\.)?class_ref\.module_path", "Operators live in other modules now."),
    Accepted("/details$", r"owners\[\]", "2.11 names no owners there, by mistake."),
    Accepted(
        "^PATCH /dags/plain/dagRuns/first(/setNote)? {}$", _ANYTHING, "2.11 breaks (500) where a field is missing."
    ),
    Accepted(
        r"^GET /dags/~/(dagRuns\?order_by=dag_run_id|dagRuns/~/taskInstances\?limit=3)$",
        r"(dag_runs|task_instances)\[\]\..*",
        "Runs of one name, or in no order, come as the database gives them.",
    ),
    Accepted(r'"page_limit": 2, "task_ids"', r"task_instances\[\]\..*", "No order was asked for."),
    Accepted(
        r"^GET /variables\?(limit=1|order_by=value)$", r"variables\[\]\..*", "No order, or one by encrypted text."
    ),
    Accepted("^GET /variables", r"(variables\[\]\.)?value", "3.3 shows numbers as numbers, and masks secrets."),
    Accepted(r"^PATCH /variables/v1\?update_mask=value ", _ANYTHING, "2.11 knows the field as `val`, by mistake."),
    Accepted("/(first|double/1|double/0)", r"note", "3.3 keeps no empty note."),
    Accepted(
        r'^PATCH .*/taskInstances/(end|double/2) .*"dry_run": false',
        "dag_id|dag_run_id|execution_date|task_id",
        "2.11 answers with an empty object, by mistake.",
    ),
    Accepted(r"/~/xcomEntries\?limit=2$", "total_entries", "2.11 stores the outlets of a task as an XCom, too."),
    Accepted(r"\?deserialize=true$", _ANYTHING, "2.11 forbids it unless it is configured; 3.3 has no such setting."),
    Accepted("/logs/(7|0)", "body|content", "A try that never was is explained in other words."),
    Accepted("^GET /pools/p%2F4$", _ANYTHING, "2.11 cannot find a pool with a slash in its name."),
    Accepted(r"^GET /datasets\?", "total_entries", "2.11 counts what the filter leaves out."),
    Accepted("^GET /eventLogs", _ANYTHING, "Each server records what has happened to it, in its own words."),
    Accepted("^GET /users", r"(users\[\]\.)?login_count", "2.11 counts each request as a login."),
    Accepted("^GET /roles", r"roles\[\]\.actions\[\].*", "3.3 has more that can be permitted."),
    Accepted(
        '^POST /roles {"actions": .*"name": "r1"}$', "actions|name", "2.11 answers with an empty object, by mistake."
    ),
    Accepted("^GET /permissions", r"actions\[\].*", "No order was asked for."),
    Accepted("^GET /dags/pl%2Fain$", "detail|title|type", "2.11 finds no such path, and we no such DAG."),
)
