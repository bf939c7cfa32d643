"""The page `report`: for administrators with a session; without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import flask
from flask import Response, request

from compat_auth.authn.session_sealing import Session
from compat_auth.concurrency.clock import unix_now
from compat_auth.http.problem import PROBLEM_JSON, problem_body
from compat_auth.usage.recorder import UsageRecorder, usage_of
from compat_auth.usage.report import MAX_EXPORTED, MAX_ROWS, Filters, day_text, export, make_report
from compat_auth.usage.texts import as_csv, as_json, backend_text, forecast_text, one_line, time_text, user_text
from compat_auth.web.page import Account, record, render_account, show_message
from compat_auth.web.report.access import ReportAccess
from compat_auth.web.report.charts import HEIGHT, WIDTH, backend_charts, client_chart

PATH = "report"
_MAX_TEXT = 512
_MAX_DAYS = 3660
_TEXTS = ("user", "backend", "client", "network", "operation")
_FORMS = ("csv", "json")


class ReportPage:
    """The page and its downloads.

    Args:
        account: Protects the page.
        access: Who may read it.
    """

    def __init__(self, account: Account, access: ReportAccess) -> None:
        self._account = account
        self._access = access

    def routes(self) -> tuple[tuple[str, str, Callable[[], Response]], ...]:
        """Return (path below the prefix, method, view) of the page and of each download."""
        return (
            (PATH, "GET", self._protected(None)),
            *((f"{PATH}.{form}", "GET", self._protected(form)) for form in _FORMS),
        )

    def _protected(self, form: str | None) -> Callable[[], Response]:
        guarded = self._account.guard(lambda session: self._answer(session, form), PATH, is_way_out=False)

        def answer() -> Response:
            if "Authorization" in request.headers:
                # A token can be limited, or stolen, and never opens this page.
                body = problem_body(403, detail="the report is for administrators with a session: log in in a browser")
                return flask.make_response(body, 403, {"Content-Type": PROBLEM_JSON})
            return guarded()

        return answer

    def _answer(self, session: Session, form: str | None) -> Response:
        if not self._access.may_read():
            record("reject", session.username, "the report is for administrators", way="session")
            return show_message(session, 403, "The report is for administrators: see [usage] admins.")
        recorder = usage_of(flask.current_app)
        if recorder is None:
            return show_message(session, 404, "Usage is not recorded here: see [usage] enabled.")
        filters = filters_of_request()
        form = form or request.args.get("format", "") or "html"
        if filters is None or form not in ("html", *_FORMS):
            return show_message(session, 400, "A filter of this report is not valid: days are 1 to 3660.")
        record("report read", session.username, _query(filters), way="session")
        return self._render(session, recorder, filters, form)

    def _render(self, session: Session, recorder: UsageRecorder, filters: Filters, form: str) -> Response:
        now = unix_now()
        if form == "csv":
            found = export(recorder.rows, filters, now, limit=MAX_EXPORTED + 1)
            # A row that says so would be one more request to a program.
            name = "usage.csv" if len(found) <= MAX_EXPORTED else "usage-incomplete.csv"
            return _download(as_csv(found[:MAX_EXPORTED]), "text/csv; charset=utf-8", name)
        report = make_report(recorder.rows, filters, now)
        if form == "json":
            return _download(as_json(report), "application/json", "usage.json")
        return render_account(
            "report.html",
            session,
            report=report,
            filters=filters,
            charts=backend_charts(report),
            clients=client_chart(report.clients),
            width=WIDTH,
            height=HEIGHT,
            most_rows=MAX_ROWS,
            most_exported=MAX_EXPORTED,
            query=_query(filters),
            link=_link,
            day_text=day_text,
            time_text=time_text,
            user_text=user_text,
            backend_text=backend_text,
            one_line=one_line,
            forecast_text=forecast_text,
        )


def filters_of_request() -> Filters | None:
    """Return the filters in the current request's query; None where one is not valid."""
    texts = {name: request.args.get(name, "").strip() for name in _TEXTS}
    days = request.args.get("days", "").strip() or "90"
    if any(len(text) > _MAX_TEXT or "\0" in text for text in texts.values()):
        return None
    if not (days.isascii() and days.isdigit() and len(days) < 5 and 1 <= int(days) <= _MAX_DAYS):
        return None
    return Filters(int(days), **texts)


def _query(filters: Filters) -> str:
    values = {name: getattr(filters, name) for name in ("days", *_TEXTS)}
    return urlencode({name: value for name, value in values.items() if value}, errors="replace")


def _link(filters: Filters, **changed: Any) -> str:
    """Return the query of the same report with other filters: a drill-down."""
    return _query(replace(filters, **changed))


def _download(text: str, media_type: str, name: str) -> Response:
    headers = {"Content-Type": media_type, "Content-Disposition": f'attachment; filename="{name}"'}
    return flask.make_response(text.encode("utf-8", "replace"), headers)
