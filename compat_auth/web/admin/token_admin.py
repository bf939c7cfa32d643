"""The administrators' page of all personal tokens and role accounts: search them, and revoke a token."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request

from compat_auth.authn.session_sealing import Session
from compat_auth.errors import NoSuchToken
from compat_auth.identity import Identity
from compat_auth.personal_tokens.permissions import TokenPermissions
from compat_auth.personal_tokens.service import PersonalTokens
from compat_auth.store.tables.role_accounts import RoleAccountRows
from compat_auth.store.tables.token_search import TokenSearch, TokenSearchRows
from compat_auth.web.admin.administrators import Administrators
from compat_auth.web.lists.query import PAGE_SIZE, ListQuery, Pager
from compat_auth.web.lists.token_row import row_of
from compat_auth.web.page import Account, here, record, redirect, render_account, show_message

PATH = "all-tokens"
_SORTS = {"user": "User", "name": "Name", "created": "Newest first", "expires": "Last day", "used": "Last used"}
_MOST_ROLES = 200
_DONE = {"revoked": "The token is revoked. It no longer works."}


class TokenAdminPages:
    """The pages.

    Args:
        tokens: The token service.
        access: Finds the tokens that an administrator may revoke.
        admins: Protects the pages.
        account: Protects the pages, too: it requires a login.
        prefix: Path prefix of our own pages.
    """

    def __init__(
        self,
        tokens: PersonalTokens,
        access: TokenPermissions,
        admins: Administrators,
        account: Account,
        prefix: str,
    ) -> None:
        self._tokens = tokens
        self._access = access
        self._admins = admins
        self._account = account
        self._list_path = prefix + PATH
        self._search = TokenSearchRows(tokens.rows.database)
        self._roles = RoleAccountRows(tokens.rows.database)

    def routes(self) -> tuple[tuple[str, str, Callable[[], Response]], ...]:
        """Return (path below the prefix, method, view) of each page."""
        views: tuple[tuple[str, str, Callable[[Session, Identity], Response]], ...] = (
            (PATH, "GET", self._show),
            (f"{PATH}/revoke", "GET", self._ask_revoke),
            (f"{PATH}/revoke", "POST", self._revoke),
        )
        guard = self._admins.guard
        return tuple(
            (path, method, self._account.guard(guard(self._known(view)), PATH, is_way_out=False))
            for path, method, view in views
        )

    def _known(self, view: Callable[[Session, Identity], Response]) -> Callable[[Session, Identity], Response]:
        def answer(session: Session, identity: Identity) -> Response:
            try:
                return view(session, identity)
            except NoSuchToken:
                return show_message(session, 404, "There is no such token. It may be revoked already.")

        return answer

    def _show(self, session: Session, _identity: Identity) -> Response:
        query = ListQuery.from_args(request.args, _SORTS)
        found = self._search.find(TokenSearch(query.text, query.sort, PAGE_SIZE, query.offset))
        now = self._tokens.now()
        roles = self._roles.list()
        record("accept", session.username, "list of all tokens", way="session")
        return render_account(
            "all_tokens.html",
            session,
            rows=[row_of(token, now) for token in found.tokens],
            query=query,
            pager=Pager(query, found.total),
            sorts=_SORTS.items(),
            roles=roles[:_MOST_ROLES],
            more_roles=max(0, len(roles) - _MOST_ROLES),
            done=_DONE.get(request.args.get("done", ""), ""),
        )

    def _ask_revoke(self, session: Session, identity: Identity) -> Response:
        token = self._access.find(identity, request.args.get("id", ""), to_revoke=True)
        return render_account("token_revoke.html", session, found=row_of(token, self._tokens.now()), here=PATH)

    def _revoke(self, session: Session, identity: Identity) -> Response:
        token = self._access.find(identity, request.form.get("id", ""), to_revoke=True)
        self._tokens.revoke(token)
        record("token revoked", session.username, f"{token.id} of {token.username}", way="session")
        return redirect(here(f"{self._list_path}?done=revoked"))
