"""Traces with OpenTelemetry: spans for a request, a check by the chain, and a call to the upstream.

Only the API (`opentelemetry-api`) is used; the exporter is the operator's choice, as with `opentelemetry-instrument`. Names
of attributes follow the semantic conventions for HTTP. No span has a query, a header, a user name or an error's text.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Generator, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from compat_auth.errors import CompatAuthError, ConfigError
from compat_auth.telemetry.access_log import shown_path

_NAME = "compat_auth"
# RFC 9110 section 9, and PATCH; the conventions call every other method _OTHER.
_METHODS = frozenset(["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"])


class Tracer:
    """Makes spans.

    Raises:
        ConfigError: opentelemetry-api is not installed.
    """

    def __init__(self) -> None:
        try:
            installed = importlib.util.find_spec("opentelemetry.trace") is not None
        except ModuleNotFoundError:
            installed = False
        if not installed:
            raise ConfigError(
                "tracing.enabled: opentelemetry-api is not installed; install compat_auth with its extra 'otel' (README:"
                " Install), or remove tracing.enabled"
            )
        # Loaded only where it is used: it is an extra, and its types are too.
        self._trace: Any = importlib.import_module("opentelemetry.trace")
        self._context: Any = importlib.import_module("opentelemetry.context")
        self._propagate: Any = importlib.import_module("opentelemetry.propagate")
        self._tracer: Any = self._trace.get_tracer(_NAME)

    def begin(
        self, method: str, path: bytes, scheme: str, headers: Iterable[tuple[bytes, bytes]], *, is_trusted: bool
    ) -> RequestSpan:
        """Begin the span of a request; it is the current one until it ends.

        Args:
            method: Of the request.
            path: Of the request, without its query.
            scheme: "http" or "https".
            headers: Lower-case names.
            is_trusted: Whether the other end of the connection is a trusted proxy, whose trace continues here.
        """
        context = self._context.Context()
        if is_trusted:
            carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
            context = self._propagate.extract(carrier, context)
        attributes = {**_method(method), "url.path": shown_path(path), "url.scheme": scheme}
        span = self._tracer.start_span(
            _span_name(method), context, kind=self._trace.SpanKind.SERVER, attributes=attributes
        )
        attached = self._context.attach(self._trace.set_span_in_context(span, context))
        return RequestSpan(self, span, attached)

    def end(self, span: RequestSpan, status: int, request_id: str, backend: str) -> None:
        """End the span of a request."""
        self._context.detach(span.attached)
        span.span.set_attribute("compat_auth.request_id", request_id)
        if backend:
            span.span.set_attribute("compat_auth.backend", backend)
        self._set_status(span.span, status)
        span.span.end()

    @contextlib.contextmanager
    def decision(self) -> Generator[Any]:
        """Yield the span of a check by the chain."""
        # An error's text may hold what a caller has sent.
        with self._tracer.start_as_current_span(
            "compat_auth.decision", record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except CompatAuthError as error:
                span.set_attribute("error.type", type(error).__name__)
                raise

    @contextlib.contextmanager
    def upstream(
        self, method: str, host: str, port: int | None, path: bytes, headers: MutableMapping[str, str]
    ) -> Generator[Any]:
        """Yield the span of a call to the upstream; the headers get the trace, instead of the caller's.

        Args:
            method: Of the call.
            host: The upstream's.
            port: The upstream's.
            path: Of the call, without its query.
            headers: Of the call.
        """
        attributes = {**_method(method), "server.address": host, "url.path": shown_path(path)}
        if port is not None:
            attributes["server.port"] = port
        with self._tracer.start_as_current_span(
            _span_name(method),
            kind=self._trace.SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            for name in self._propagate.get_global_textmap().fields:
                # `pop` of a mapping with several values a name removes the first one alone.
                while name in headers:
                    del headers[name]
            self._propagate.inject(headers)
            try:
                yield span
            except CompatAuthError as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(self._trace.StatusCode.ERROR)
                raise

    def set_response(self, span: Any, status: int) -> None:
        """Note the status of the upstream's answer."""
        span.set_attribute("http.response.status_code", status)
        # The conventions: for a client, every status from 400 on is an error.
        if status >= 400:
            span.set_attribute("error.type", str(status))
            span.set_status(self._trace.StatusCode.ERROR)

    def _set_status(self, span: Any, status: int) -> None:
        if status:
            span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(self._trace.StatusCode.ERROR)


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """The span of a request.

    Attributes:
        tracer: Has made it.
        span: OpenTelemetry's.
        attached: Ends its time as the current one.
    """

    tracer: Tracer
    span: Any
    attached: Any


@dataclass(slots=True)
class TracingOptions:
    """Whether this process makes spans.

    Attributes:
        tracer: Makes them; None: there are none.
    """

    tracer: Tracer | None = None


OPTIONS = TracingOptions()
"""Those of this process."""


def _method(method: str) -> dict[str, Any]:
    if method in _METHODS:
        return {"http.request.method": method}
    return {"http.request.method": "_OTHER"}


def _span_name(method: str) -> str:
    # Without a route, which only the upstream knows, the conventions name a span by its method.
    return method if method in _METHODS else "HTTP"
