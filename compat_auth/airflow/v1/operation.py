"""The record of an operation of `/api/v1`, and the steps that its record alone says. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

from compat_auth.airflow.v1.mappers.mapper import Mapper, only
from compat_auth.airflow.v1.messages import NO_CONTENT, Answer, Call, Json, Reply, Steps, json_reply
from compat_auth.airflow.v1.problems import V1Problem, is_unrouted, not_found, problem_of, rejects_token
from compat_auth.airflow.v1.upstream_facts import UpstreamFacts
from compat_auth.airflow.v1.validation.forms import Form
from compat_auth.airflow.v1.validation.query import MAX_PAGE, Parameter, Query

V2 = "/api/v2"
_LATER_DATES = ("start_date", "end_date")
_DATE_FILTERS = tuple(f"{name}_{end}" for name in _LATER_DATES for end in ("gte", "lte"))
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """A request to an operation, read by its record.

    Attributes:
        operation: The record.
        segments: What stands at the template's places, still percent-encoded: data, never more than one segment.
        query: Read.
        body: Read; empty for an operation without a body.
        accept: Value of `Accept`, empty for none.
        facts: What is known about the upstream.
        moment: When it came, UTC.
    """

    operation: Operation
    segments: Mapping[str, str]
    query: Query
    body: Json = field(repr=False)
    accept: str
    upstream_facts: UpstreamFacts
    now: datetime

    def named(self, name: str) -> str:
        """Return what stands at a place of the template, decoded."""
        return unquote(self.segments[name])

    def filtered_dates(self) -> list[str]:
        """Return the dates that the client filters by and that an object may not have yet."""
        given = {*self.body, *(name for name in _DATE_FILTERS if self.query.value(name) is not None)}
        return [name for name in _LATER_DATES if not given.isdisjoint((f"{name}_gte", f"{name}_lte"))]

    def path(self, template: str, **more: str) -> str:
        """Return a path upstream: the template's places filled, encoded ones as they are, further ones encoded."""
        filled = {**self.segments, **{name: quote(value, safe="") for name, value in more.items()}}
        return _PLACE.sub(lambda match: filled[match[1]], template)

    @property
    def successor(self) -> str:
        """The path of the operation's successor; what must be looked up for it stays a template (RFC 6570)."""
        template = self.operation.to.partition(" ")[2]
        return _PLACE.sub(lambda match: self.segments.get(match[1], f"%7B{match[1]}%7D"), template)

    def call(self, body: object = None, query: list[tuple[str, str]] | None = None) -> Call:
        """Return the call that the record names."""
        method, _, template = self.operation.to.partition(" ")
        return Call(method, self.path(template), tuple(self.query.sent if query is None else query), body)

    def call_of(self, **more: str) -> Call:
        """Return the call that the record names, with what has been looked up at further places of its template."""
        method, _, template = self.operation.to.partition(" ")
        return Call(method, self.path(template, **more), tuple(self.query.sent))


Code = Callable[[OperationRequest], Steps]


@dataclass(frozen=True, slots=True)
class Collection:
    """An answer that lists objects.

    Attributes:
        mapper: Of each.
        key: Of the list in 2.x.
        source: Of the list in 3.x, when it is another.
        empty_when_missing: 404 upstream is an empty list in 2.x.
    """

    mapper: Mapper
    key: str
    source: str = ""
    empty_when_missing: bool = False

    def document(self, found: Json, request: OperationRequest | None = None) -> Json:
        """Return the document of 2.x."""
        mapper = self.mapper
        listed = [mapper(each) for each in found[self.source or self.key]]
        total = found.get("total_entries", len(listed))
        if request is not None:
            dates = request.filtered_dates()
            if dates:
                # 3.x takes what has not begun or ended for beginning or ending now; 2.x filters it out.
                kept = [each for each in listed if all(each.get(name) is not None for name in dates)]
                total, listed = total - len(listed) + len(kept), kept
            fields = request.query.values("fields")
            if fields is not None:
                listed = [only(fields, each) for each in listed]
        return {self.key: listed, "total_entries": total}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of `/api/v1`.

    Attributes:
        name: Its `operationId`.
        method: Upper case.
        path: Template below `/api/v1`.
        to: Method and template of the operation of 3.x that does most of it.
        query: Rules of its parameters.
        form: Of its body.
        shape: Of a successful answer: objects, a list of them, or nothing (204).
        code: What the record cannot say; None: one call, one answer.
        public: Needs no credential.
        fab: Only where FAB manages the users.
        missing: 2.11's title and detail when there is no such object; places of the template may stand in the detail.
    """

    name: str
    method: str
    path: str
    to: str
    query: tuple[Parameter, ...] = ()
    form: Form | None = None
    shape: Mapper | Collection | None = None
    code: Code | None = None
    public: bool = False
    fab: bool = False
    missing: tuple[str, str | None] | None = None

    def steps(self, request: OperationRequest) -> Steps:
        """Return the operation as a generator."""
        return self.code(request) if self.code is not None else forward(request)


def forward(request: OperationRequest, body: object = None, query: list[tuple[str, str]] | None = None) -> Steps:
    """Make the one call that the record names, and answer in the record's shape."""
    operation = request.operation
    if request.query.finds_nothing and isinstance(operation.shape, Collection):
        return json_reply({operation.shape.key: [], "total_entries": 0})
    answer = yield request.call(request.body or None if body is None else body, query)
    return shaped(request, answer)


def shaped(request: OperationRequest, answer: Answer) -> Reply:
    """Return the reply for the operation's last answer.

    Raises:
        V1Problem: The upstream refuses.
    """
    shape = request.operation.shape
    if isinstance(shape, Collection) and shape.empty_when_missing and answer.status == 404 and not is_unrouted(answer):
        return json_reply({shape.key: [], "total_entries": 0})
    require(request, answer)
    if shape is None:
        return NO_CONTENT
    found = answer.json()
    if isinstance(shape, Collection):
        return json_reply(shape.document(found, request))
    return json_reply(only(request.query.values("fields"), shape(found)))


_FAB_WITHOUT_TOKENS = (
    "The password or token may be right: the FAB provider of Airflow 3.0 takes neither for users, roles and permissions. "
    "Use Airflow's own pages for them, or upgrade to Airflow 3.1 or later."
)


def require(request: OperationRequest, answer: Answer) -> None:
    """Return when the upstream has done as told.

    Raises:
        V1Problem: It has not.
    """
    if answer.is_success:
        return
    if answer.status == 404 and request.operation.missing is not None:
        raise missing(request)
    if request.operation.fab and answer.status == 401 and not rejects_token(answer):
        raise V1Problem(401, _FAB_WITHOUT_TOKENS)
    raise problem_of(answer)


def missing(request: OperationRequest) -> V1Problem:
    """Return the operation's 404, in the words of 2.11."""
    title, detail = (
        text if text is None else _PLACE.sub(lambda match: request.named(match[1]), text)
        for text in request.operation.missing or ("", None)
    )
    return not_found(title or "", detail)


def fetch(request: OperationRequest, path: str, *query: tuple[str, str]) -> Generator[Call, Answer, Any]:
    """Get a document that the operation needs.

    Raises:
        V1Problem: It cannot be had.
    """
    answer = yield Call("GET", path, query)
    require(request, answer)
    return answer.json()


def pages(
    path: str, query: list[tuple[str, str]], key: str, *, offset: int = 0, limit: int | None = None
) -> Generator[Call, Answer, tuple[list[Json], int, Answer]]:
    """Read a list over as many pages as it takes: the upstream gives a hundred at once, 2.11 gave all.

    Args:
        path: Of the list.
        query: Without limit and offset.
        key: Of the list in the answer.
        offset: The first wanted.
        limit: How many at most; None for all.

    Returns:
        The objects, how many there are in all, and the last answer; a refusal ends the reading.
    """
    found: list[Json] = []
    while True:
        wanted = MAX_PAGE if limit is None else min(MAX_PAGE, limit - len(found))
        at = offset + len(found)
        answer = yield Call("GET", path, (*query, ("limit", str(wanted)), ("offset", str(at))))
        if not answer.is_success:
            return found, 0, answer
        document = answer.json()
        page: list[Json] = document[key]
        total = int(document.get("total_entries") or 0)
        found.extend(page)
        if not page or wanted == 0 or len(found) == limit or offset + len(found) >= total:
            return found, total, answer
