"""The pages of the user's own personal tokens: list, create, refresh and revoke. A token's text is shown once."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Response, request

from compat_auth.authn.session_sealing import Session
from compat_auth.errors import CompatAuthError, NoSuchToken, NoSuchUser
from compat_auth.identity import Identity
from compat_auth.personal_tokens.permissions import TokenPermissions
from compat_auth.personal_tokens.request import NewToken, granted_days
from compat_auth.personal_tokens.service import MAX_OVERLAP_S, PersonalTokens
from compat_auth.store.tables.personal_tokens import PersonalToken
from compat_auth.store.tables.token_search import TokenSearch, TokenSearchRows
from compat_auth.web.forms import TokenForm, day_ahead, days_until, field_of
from compat_auth.web.lists.query import PAGE_SIZE, ListQuery, Pager
from compat_auth.web.lists.token_row import row_of, version_of
from compat_auth.web.page import Account, View, allow_script, here, record, redirect, render_account, show_message

PATH = "tokens"
_OVERLAPS = ((0, "at once"), (3600, "in an hour"), (86400, "in a day"), (MAX_OVERLAP_S, "in 7 days"))
_PRESET_DAYS = (7, 30, 90)
_SORTS = {"name": "Name", "created": "Newest first", "expires": "Last day", "used": "Last used"}
# The scopes that most scripts need, in words. Each is a limit: Airflow's own permissions still apply.
COMMON_SCOPES = (
    ("read", "Read everything"),
    ("trigger", "Start runs of all DAGs, and see these runs"),
    ("PATCH /api/v2/dags/{dag_id}", "Pause and resume all DAGs"),
)
_DONE = {"revoked": "The token is revoked. It no longer works."}


class TokenPages:
    """The pages.

    Args:
        tokens: The token service.
        access: Finds the tokens of a user.
        account: Protects the pages.
        prefix: Path prefix of our own pages.
        tried: Path of a request that everybody may try a new token with.
    """

    def __init__(
        self, tokens: PersonalTokens, access: TokenPermissions, account: Account, prefix: str, tried: str
    ) -> None:
        self._tokens = tokens
        self._access = access
        self._account = account
        self._list_path = prefix + PATH
        self._search = TokenSearchRows(tokens.rows.database)
        self._tried = tried

    def routes(self) -> tuple[tuple[str, str, Callable[[], Response]], ...]:
        """Return (path below the prefix, method, view) of each page."""
        views: tuple[tuple[str, str, View], ...] = (
            (PATH, "GET", self._show),
            (PATH, "POST", self._create),
            (f"{PATH}/refresh", "GET", self._ask_refresh),
            (f"{PATH}/refresh", "POST", self._refresh),
            (f"{PATH}/revoke", "GET", self._ask_revoke),
            (f"{PATH}/revoke", "POST", self._revoke),
        )
        return tuple((path, method, self._account.guard(self._for_active(view), PATH)) for path, method, view in views)

    def _for_active(self, view: View) -> View:
        def answer(session: Session) -> Response:
            try:
                # A session can outlive its user, up to the session's lifetime.
                self._tokens.owners.find(session.username)
                return view(session)
            except NoSuchUser:
                record("reject", session.username, "unknown, or disabled", way="session")
                return show_message(session, 403, "Your account is not active here, so it has no tokens.")
            except NoSuchToken:
                return show_message(session, 404, "You have no such token. It may be revoked already.")

        return answer

    def _show(self, session: Session) -> Response:
        return self._list(session, 200, self._empty_form(), done=_DONE.get(request.args.get("done", ""), ""))

    def _create(self, session: Session) -> Response:
        form = TokenForm.from_request()
        try:
            made = self._tokens.create(session.username, form.token_request(self._tokens.now()), by=session.username)
        except NoSuchUser:
            raise
        except CompatAuthError as error:
            if error.status >= 500:
                raise
            return self._list(session, error.status, form, error=str(error), field=field_of(error))
        return self._made(session, made, "created")

    def _ask_refresh(self, session: Session) -> Response:
        token = self._find(session)
        until = day_ahead(self._tokens.now(), granted_days(self._tokens.rules, token))
        return self._render_refresh(session, 200, token, until)

    def _refresh(self, session: Session) -> Response:
        token, until = self._find(session), request.form.get("until", "")
        if request.form.get("version") != str(version_of(token)):
            # A form that is sent twice would replace the secret that was just shown.
            return show_message(session, 409, "This token was refreshed a moment ago. Its newest secret works.")
        overlap = request.form.get("overlap", "0")
        overlap_s = int(overlap) if overlap in {str(seconds) for seconds, _ in _OVERLAPS} else -1
        try:
            days = days_until(until, self._tokens.now())
            made = self._tokens.refresh(token, days=days, overlap_s=overlap_s)
        except (NoSuchUser, NoSuchToken):
            raise
        except CompatAuthError as error:
            if error.status >= 500:
                raise
            return self._render_refresh(session, error.status, token, until, error)
        return self._made(session, made, "refreshed")

    def _ask_revoke(self, session: Session) -> Response:
        return render_account(
            "token_revoke.html", session, found=row_of(self._find(session), self._tokens.now()), here=PATH
        )

    def _revoke(self, session: Session) -> Response:
        token = self._find(session)
        self._tokens.revoke(token)
        record("token revoked", session.username, token.id, way="session")
        return redirect(here(f"{self._list_path}?done=revoked"))

    def _find(self, session: Session) -> PersonalToken:
        values = request.form if request.method == "POST" else request.args
        # Without groups and roles: these pages show only the user's own tokens.
        identity = Identity(session.username, "session", subject=session.username)
        return self._access.find(identity, values.get("id", ""))

    def _list(
        self, session: Session, status: int, form: TokenForm, *, error: str = "", field: str = "", done: str = ""
    ) -> Response:
        query = ListQuery.from_args(request.args, _SORTS)
        found = self._search.find(
            TokenSearch(query.text, query.sort, PAGE_SIZE, query.offset, username=session.username)
        )
        now = self._tokens.now()
        mine = [row_of(token, now) for token in self._tokens.list(session.username) if not token.is_role]
        return render_account(
            "tokens.html",
            session,
            status,
            rows=[row_of(token, now) for token in found.tokens],
            total=len(mine),
            ending=sum(row.state == "soon" for row in mine),
            query=query,
            pager=Pager(query, found.total),
            sorts=_SORTS.items(),
            common_scopes=COMMON_SCOPES,
            form=form,
            error=error,
            field=field,
            done=done,
            **self._limits(),
        )

    def _render_refresh(
        self, session: Session, status: int, token: PersonalToken, until: str, error: CompatAuthError | None = None
    ) -> Response:
        return render_account(
            "token_refresh.html",
            session,
            status,
            found=row_of(token, self._tokens.now()),
            until=until,
            overlaps=_OVERLAPS,
            error=str(error or ""),
            field=field_of(error) if error else "",
            **self._limits(),
        )

    def _made(self, session: Session, made: NewToken, what: str) -> Response:
        record(f"token {what}", session.username, made.token.id, way="session")
        nonce = allow_script()
        row = row_of(made.token, self._tokens.now())
        url = f"{request.scheme}://{request.host}{here(self._tried)}"
        return render_account("token_made.html", session, found=row, text=made.text, what=what, nonce=nonce, url=url)

    def _empty_form(self) -> TokenForm:
        rules = self._tokens.rules
        return TokenForm(until=day_ahead(self._tokens.now(), min(rules.default_days, rules.max_days)))

    def _limits(self) -> dict[str, object]:
        now, rules = self._tokens.now(), self._tokens.rules
        last = day_ahead(now, rules.max_days)
        presets = [(day_ahead(now, days), f"{days} days") for days in _PRESET_DAYS if days <= rules.max_days]
        return {"enabled": rules.enabled, "first_day": day_ahead(now, 1), "last_day": last, "presets": presets}


def shown_day(timestamp: int) -> str:
    """Return the date of a timestamp (UTC)."""
    return time.strftime("%Y-%m-%d", time.gmtime(timestamp))


def shown_time(timestamp: int) -> str:
    """Return the date and time of a timestamp, to the minute (UTC)."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(timestamp))
