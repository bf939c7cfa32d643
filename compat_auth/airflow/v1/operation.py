"""The record of an operation of `/api/v1`, and the steps that follow from the record alone. No I/O."""

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
    """A parsed request to an operation.

    Attributes:
        operation: The record.
        segments: Values of the template's variables, still percent-encoded: data, never more than one segment.
        query: The parsed query.
        body: The parsed body; empty for an operation without a body.
        accept: Value of `Accept`, empty for none.
        upstream_facts: Facts about the upstream.
        now: When the request arrived, UTC.
    """

    operation: Operation
    segments: Mapping[str, str]
    query: Query
    body: Json = field(repr=False)
    accept: str
    upstream_facts: UpstreamFacts
    now: datetime

    def named(self, name: str) -> str:
        """Return the value of a template variable, decoded."""
        return unquote(self.segments[name])

    def filtered_dates(self) -> list[str]:
        """Return the dates that the client filters by and that an object may not yet have."""
        given = {*self.body, *(name for name in _DATE_FILTERS if self.query.value(name) is not None)}
        return [name for name in _LATER_DATES if not given.isdisjoint((f"{name}_gte", f"{name}_lte"))]

    def path(self, template: str, **more: str) -> str:
        """Return a path upstream: the template filled with the request's encoded segments and with `more`, which it encodes."""
        filled = {**self.segments, **{name: quote(value, safe="") for name, value in more.items()}}
        return _PLACE.sub(lambda match: filled[match[1]], template)

    @property
    def successor(self) -> str:
        """The path of the operation's successor; variables that need a look-up stay in the template (RFC 6570)."""
        template = self.operation.to.partition(" ")[2]
        return _PLACE.sub(lambda match: self.segments.get(match[1], f"%7B{match[1]}%7D"), template)

    def call(self, body: object = None, query: list[tuple[str, str]] | None = None) -> Call:
        """Return the call in the record."""
        method, _, template = self.operation.to.partition(" ")
        return Call(method, self.path(template), tuple(self.query.sent if query is None else query), body)

    def call_of(self, **more: str) -> Call:
        """Return the call in the record, with looked-up values for more variables of its template."""
        method, _, template = self.operation.to.partition(" ")
        return Call(method, self.path(template, **more), tuple(self.query.sent))


Code = Callable[[OperationRequest], Steps]


@dataclass(frozen=True, slots=True)
class Collection:
    """An answer that lists objects.

    Attributes:
        mapper: Maps each object.
        key: Key of the list in 2.x.
        source: Key of the list in 3.x, if it differs.
        empty_when_missing: A 404 of the upstream becomes an empty list.
    """

    mapper: Mapper
    key: str
    source: str = ""
    empty_when_missing: bool = False

    def document(self, found: Json, request: OperationRequest | None = None) -> Json:
        """Return the document in 2.x's format."""
        mapper = self.mapper
        listed = [mapper(each) for each in found[self.source or self.key]]
        total = found.get("total_entries", len(listed))
        if request is not None:
            dates = request.filtered_dates()
            if dates:
                # 3.x treats a missing start or end as now; 2.x filters such objects out.
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
        to: Method and path template of the main operation of 3.x.
        query: Rules of its parameters.
        form: Rules of its body.
        shape: Shape of a successful answer: an object, a list of objects, or nothing (204).
        code: The steps, if the record is not enough; None: one call, one answer.
        public: Needs no credential.
        fab: Available only if FAB manages the users.
        missing: 2.11's title and detail for a missing object; the detail may contain variables of the template.
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
    """Make the one call in the record, and answer in the record's shape."""
    operation = request.operation
    if request.query.finds_nothing and isinstance(operation.shape, Collection):
        return json_reply({operation.shape.key: [], "total_entries": 0})
    answer = yield request.call(request.body or None if body is None else body, query)
    return shaped(request, answer)


def shaped(request: OperationRequest, answer: Answer) -> Reply:
    """Return the reply for the operation's last answer.

    Raises:
        V1Problem: The upstream answered with an error.
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
    "The password or token may be right: the FAB provider of Airflow 3.0 accepts neither for users, roles and permissions. "
    "Use Airflow's own pages for them, or upgrade to Airflow 3.1 or later."
)


def require(request: OperationRequest, answer: Answer) -> None:
    """Raise unless the call succeeded.

    Raises:
        V1Problem: The upstream answered with an error.
    """
    if answer.is_success:
        return
    if answer.status == 404 and request.operation.missing is not None:
        raise missing(request)
    if request.operation.fab and answer.status == 401 and not rejects_token(answer):
        raise V1Problem(401, _FAB_WITHOUT_TOKENS)
    raise problem_of(answer)


def missing(request: OperationRequest) -> V1Problem:
    """Return the operation's 404, with 2.11's text."""
    title, detail = (
        text if text is None else _PLACE.sub(lambda match: request.named(match[1]), text)
        for text in request.operation.missing or ("", None)
    )
    return not_found(title or "", detail)


def fetch(request: OperationRequest, path: str, *query: tuple[str, str]) -> Generator[Call, Answer, Any]:
    """Get a document that the operation needs.

    Raises:
        V1Problem: The upstream answered with an error.
    """
    answer = yield Call("GET", path, query)
    require(request, answer)
    return answer.json()


def pages(
    path: str, query: list[tuple[str, str]], key: str, *, offset: int = 0, limit: int | None = None
) -> Generator[Call, Answer, tuple[list[Json], int, Answer]]:
    """Read a list over several pages: the upstream returns at most a hundred objects, 2.11 returned all.

    Args:
        path: Path of the list.
        query: The query without limit and offset.
        key: Key of the list in the answer.
        offset: Index of the first object.
        limit: Most objects; None for all.

    Returns:
        The objects, their total number, and the last answer; an error ends the reading.
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
