"""Parses and checks the queries of `/api/v1`, and maps each parameter to the upstream's. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qsl

from compat_auth.airflow.v1.mappers.dates import parse_date
from compat_auth.airflow.v1.problems import V1Problem, bad_request

# 2.11's [api] maximum_page_limit and fallback_page_limit; 3.x has the same.
MAX_PAGE = 100
_TRUE = frozenset(("true", "1", "yes", "on", "t", "y"))
_FALSE = frozenset(("false", "0", "no", "off", "f", "n"))
_MAX_VALUES = 10_000
_DATE_SCHEMA = "{'type': 'string', 'format': 'date-time'}"
_OFFSET_SCHEMA = "{'type': 'integer', 'minimum': 0}"


class Kind(Enum):
    """The kinds of parameter values."""

    TEXT = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date-time"
    LIST = "array"
    ORDER = "order"
    LIMIT = "limit"
    OFFSET = "offset"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter.

    Attributes:
        name: In `/api/v1`.
        kind: Kind of its value.
        to: Its name upstream; empty: it is not sent, the operation reads it.
        default: Sent if the client sends no value; None: nothing is sent.
        values: For ORDER: the sortable fields and their names upstream. For LIST: the values that the upstream knows, and
            their names there; empty: all values pass.
        required: A missing parameter is an error.
        drop: Values that 2.11 treats as missing.
    """

    name: str
    kind: Kind = Kind.TEXT
    to: str = ""
    default: str | None = None
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    required: bool = False
    drop: frozenset[str] = frozenset()


def text(name: str, to: str | None = None, *, required: bool = False) -> Parameter:
    """Return the rule of a text; an empty one counts as missing, as in 2.11."""
    return Parameter(name, Kind.TEXT, name if to is None else to, required=required, drop=frozenset(("",)))


def integer(name: str, to: str | None = None, *, ignore_zero: bool = False) -> Parameter:
    """Return the rule of an integer."""
    return Parameter(name, Kind.INTEGER, name if to is None else to, drop=frozenset(("0",) if ignore_zero else ()))


def number(name: str) -> Parameter:
    """Return the rule of a number."""
    return Parameter(name, Kind.NUMBER, name)


def boolean(name: str, to: str | None = None, default: str | None = None) -> Parameter:
    """Return the rule of a boolean."""
    return Parameter(name, Kind.BOOLEAN, name if to is None else to, default)


def dates(*names: str) -> tuple[Parameter, ...]:
    """Return the rules of date ranges: `x` means `x_gte` and `x_lte`."""
    return tuple(
        Parameter(f"{name}_{end}", Kind.DATE, f"{name.replace('execution_date', 'logical_date')}_{end}")
        for name in names
        for end in ("gte", "lte")
    )


def date(name: str) -> Parameter:
    """Return the rule of one date."""
    return Parameter(name, Kind.DATE, name)


def listed(name: str, to: str | None = None, values: Mapping[str, str] | None = None) -> Parameter:
    """Return the rule of a list: clients repeat it or use commas; the upstream gets it repeated.

    Args:
        name: In `/api/v1`.
        to: Its name upstream.
        values: The values that the upstream knows, and their names there; it rejects others, while 2.11 finds nothing.
    """
    return Parameter(name, Kind.LIST, name if to is None else to, values=values or {})


def order(default: str | None = None, /, **names: str) -> Parameter:
    """Return the rule of `order_by`.

    Args:
        default: The upstream's field to order by if the client names none.
        names: The sortable fields; the value is the name upstream, empty for the same name.
    """
    return Parameter("order_by", Kind.ORDER, "order_by", default, {name: to or name for name, to in names.items()})


LIMIT = Parameter("limit", Kind.LIMIT, "limit", str(MAX_PAGE))
OFFSET = Parameter("offset", Kind.OFFSET, "offset")
PAGE = (LIMIT, OFFSET)
# The operation reads it: the answer has only these fields.
FIELDS = Parameter("fields", Kind.LIST)
MASK = Parameter("update_mask", Kind.LIST)


class Query:
    """A query, parsed by its operation's rules.

    Attributes:
        sent: The parameters for the upstream.
        finds_nothing: The client filters by values that no object can have.

    Args:
        parameters: The rules.
        raw: Canonical query, ASCII.
        is_strict: Reject unknown parameters.

    Raises:
        V1Problem: 400 with 2.11's text: an unknown parameter, a wrong value, or a missing parameter.
    """

    def __init__(self, parameters: Sequence[Parameter], raw: str, *, is_strict: bool = True) -> None:
        given: dict[str, list[str]] = {}
        if raw:
            for name, value in parse_qsl(raw, keep_blank_values=True, errors="replace"):
                given.setdefault(name, []).append(value)
            known = {parameter.name for parameter in parameters}
            if is_strict and not known.issuperset(given):
                extra = ", ".join(sorted(given.keys() - known))
                raise bad_request(f"Extra query parameter(s) {extra} not in spec", title=None)
        self._values: dict[str, list[str]] = {}
        self.sent: list[tuple[str, str]] = []
        self.finds_nothing = False
        for parameter in parameters:
            found = given.get(parameter.name)
            if found is None:
                if parameter.required:
                    raise bad_request(f"Missing query parameter '{parameter.name}'")
                if parameter.default is not None:
                    self.sent.append((parameter.to, parameter.default))
                continue
            values = _read(parameter, found)
            self._values[parameter.name] = values
            if parameter.kind is Kind.LIST and parameter.values:
                values = [parameter.values[value] for value in values if value in parameter.values]
                self.finds_nothing |= not values
            if parameter.to:
                self.sent.extend((parameter.to, value) for value in values if value not in parameter.drop)

    def values(self, name: str) -> list[str] | None:
        """Return the parsed values of a parameter; None if the client sent none."""
        return self._values.get(name)

    def value(self, name: str) -> str | None:
        """Return the last value of a parameter."""
        values = self._values.get(name)
        return values[-1] if values else None

    def number(self, name: str, default: int) -> int:
        """Return the value of an integer."""
        value = self.value(name)
        return default if value is None else int(value)

    def is_true(self, name: str, default: bool = False) -> bool:
        """Return the value of a boolean."""
        value = self.value(name)
        return default if value is None else value == "true"

    def without(self, *names: str) -> list[tuple[str, str]]:
        """Return the parameters for the upstream, except some."""
        return [pair for pair in self.sent if pair[0] not in names]


def _read(parameter: Parameter, found: list[str]) -> list[str]:
    name, value = parameter.name, found[-1]
    read = value
    match parameter.kind:
        case Kind.LIST:
            return _listed(name, found)
        case Kind.ORDER:
            read = _order(parameter, value)
        case Kind.TEXT:
            pass
        case Kind.DATE:
            read = _date(value)
        case Kind.BOOLEAN:
            read = _truth(name, value)
        case Kind.INTEGER:
            read = str(_whole(name, value))
        case Kind.NUMBER:
            read = _number(name, value)
        case Kind.LIMIT:
            read = str(_limit(name, value))
        case Kind.OFFSET:
            read = str(_offset(name, value))
    return [read]


def _number(name: str, value: str) -> str:
    try:
        float(value)
    except ValueError:
        raise _wrong(name, "number") from None
    return value


def _listed(name: str, found: Iterable[str]) -> list[str]:
    values = [part for value in found for part in value.split(",") if part]
    if len(values) > _MAX_VALUES:
        raise bad_request(f"{name}: more than {_MAX_VALUES} values")
    return values


def _truth(name: str, value: str) -> str:
    lowered = value.lower()
    if lowered in _TRUE:
        return "true"
    if lowered in _FALSE:
        return "false"
    raise _wrong(name, "boolean")


def _whole(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise _wrong(name, "integer") from None


def _limit(name: str, value: str) -> int:
    limit = _whole(name, value)
    if limit < 0:
        raise V1Problem(400, title="Page limit must be a positive integer")
    return min(limit, MAX_PAGE) if limit else MAX_PAGE


def _offset(name: str, value: str) -> int:
    offset = _whole(name, value)
    if offset < 0:
        raise bad_request(_failed(f"{offset} is less than the minimum of 0", "minimum", _OFFSET_SCHEMA, offset))
    return offset


def _date(value: str) -> str:
    # A "+" that the client did not encode arrives as a space (RFC 1866 8.2.1).
    try:
        return parse_date(value.replace(" ", "+")).isoformat()
    except ValueError:
        raise bad_request(_failed(f"{value!r} is not a 'date-time'", "format", _DATE_SCHEMA, value)) from None


def _order(parameter: Parameter, value: str) -> str:
    name = value.lstrip("-")
    upstream = parameter.values.get(name)
    if upstream is None:
        raise bad_request(f"Ordering with '{name}' is disallowed or the attribute does not exist on the model")
    return f"-{upstream}" if value.startswith("-") else upstream


def _failed(what: str, keyword: str, schema: str, value: object) -> str:
    """Return the text of 2.11's validator for a wrong value."""
    return f"{what}\n\nFailed validating '{keyword}' in schema:\n    {schema}\n\nOn instance:\n    {value!r}"


def _wrong(name: str, kind: str) -> V1Problem:
    return bad_request(f"Wrong type, expected '{kind}' for query parameter '{name}'")
