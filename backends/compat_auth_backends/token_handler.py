"""A site's own bearer tokens: the site's function turns a token into a session, like asfquart's `token_handler`.

The function gets the token and returns a mapping, or None (or anything empty) for a token that it does not know. It may
be sync or async, a function or an object that can be called. The mapping's keys:

- `uid` is the user name, and is required;
- `fullname`, `email` and `mfa` are what they say;
- `roleaccount` is true for an account that belongs to no single person;
- `isMember`, `isChair` and `isRoot` become the roles `member`, `chair` and `root`;
- `pmcs` (or `committees`) and `projects` become groups; who has one of the former has the role `pmc_member`;
- `metadata.scope` lists the token's scopes, which are enforced; without it there is no limit.
  Metadata that is not a mapping, or a scope that is not a list of texts, refuses the token.

In an app with views of its own (Flask, Quart, Starlette, FastAPI) the function may be set on the app, as
`app.token_handler`. `metadata.scope` may then have the app's own words, which limit no path and which views require
by `scope:WORD`. There `compat_auth.sessions.read()` returns every member as the function returned it.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import flask
from asgiref.sync import async_to_sync

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.config import Settings
from compat_auth.credentials import Bearer, Credential
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.scopes import ALL, MAX_LENGTH, Scope, parse_scope
from compat_auth.users import UserLookup

CLIENT_AUTH = None
Session = Mapping[str, object]
TokenHandler = Callable[[str], Session | Awaitable[Session | None] | None]
_ROLES = {"isMember": "member", "isChair": "chair", "isRoot": "root"}
ON_APP = "current_app:token_handler"
"""Names, as `[token_handler] handler`, the function that is set on the app."""
# RFC 6749 3.3, less what a scope for a path could be meant by: a slash, a method.
_WORD = re.compile(
    r"(?!(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)(?:[^A-Za-z0-9_-]|\Z))[!#-.0-\[\]-~]+\Z", re.IGNORECASE | re.ASCII
)


class TokenHandlerBackend(Backend):
    """Asks the site's own function about bearer tokens.

    Args:
        handler: See the module. Any thread may call it.
        lookup: Completes the user that it names.
    """

    name = "token_handler"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Bearer})
    needs: ClassVar[tuple[str, ...]] = ("[token_handler] handler",)

    def __init__(self, handler: TokenHandler, lookup: UserLookup) -> None:
        self._handler = handler
        self._lookup = lookup
        self._takes_words = False

    @classmethod
    def from_settings(cls, settings: Settings) -> TokenHandlerBackend:
        """Return the backend with the function that `[token_handler] handler` names.

        Raises:
            ConfigError: It names no function.
        """
        return cls(_load(settings.token_handler.handler), UserLookup.from_settings(settings))

    def init_app(self, app: flask.Flask) -> None:
        """Learn whether the app has views of its own, which may require words of its own.

        Raises:
            ConfigError: The function should be set on the app, and this app is none of the site's own.
        """
        self._takes_words = hasattr(app, "token_handler")
        if self._handler is _ask_app and not self._takes_words:
            raise ConfigError(
                f'token_handler.handler: {ON_APP!r} is for an app of your own; name a function as "package.module:function"'
            )

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept the user that the handler names; a token that it does not know may be another backend's.

        Raises:
            BackendUnavailable: The handler raised, or its result is no session.
        """
        if not isinstance(credential, Bearer):
            return Skip()
        session = self._ask(credential.token)
        if not session:
            return Skip()
        return self._accept(session)

    def challenges(self) -> tuple[str, ...]:
        """Return the Bearer challenge (RFC 6750 section 3)."""
        return ("Bearer",)

    def _ask(self, token: str) -> Session | None:
        try:
            answer: object = self._handler(token)
            # Not "is it a coroutine function": an object may have an async __call__, a function may return a coroutine.
            if inspect.isawaitable(answer):
                answer = async_to_sync(_await)(answer)
        except BackendUnavailable:
            raise
        except Exception as exc:
            raise BackendUnavailable(f"token_handler: raised {type(exc).__name__}") from exc
        if not answer:
            return None
        if not isinstance(answer, Mapping):
            raise BackendUnavailable(f"token_handler: returned a {type(answer).__name__}, not a mapping or None")
        try:
            # The function may go on to change its own.
            return copy.deepcopy(dict(cast("Session", answer)))
        except Exception as exc:
            raise BackendUnavailable(f"token_handler: its mapping cannot be copied ({type(exc).__name__})") from exc

    def _accept(self, session: Session) -> Outcome:
        uid = session.get("uid")
        if not isinstance(uid, str) or not uid.strip():
            return Reject("the handler's session has no uid")
        try:
            scopes, words = _scopes(session.get("metadata"), takes_words=self._takes_words)
        except ValueError as error:
            return Reject(f"the handler's session: {error}")
        identity = Identity(
            uid,
            self.name,
            subject=uid,
            email=_text(session.get("email")),
            scopes=scopes,
            app_scopes=words,
            claims=session,
        )
        return self._lookup.accept(Accept(with_membership(identity, session)))


async def _await(awaitable: Awaitable[object]) -> object:
    return await awaitable


def _ask_app(token: str) -> Session | Awaitable[Session | None] | None:
    handler: object = getattr(flask.current_app, "token_handler", None)
    if not callable(handler):
        raise BackendUnavailable("token_handler: no function; set app.token_handler, or [token_handler] handler")
    return cast("TokenHandler", handler)(token)


def _load(path: str) -> TokenHandler:
    if path == ON_APP:
        return _ask_app
    module, colon, attribute = path.partition(":")
    if not path or not colon:
        raise ConfigError(f'token_handler.handler: {path!r}: name a function as "package.module:function"')
    try:
        handler: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as exc:
        raise ConfigError(f"token_handler.handler: {path}: cannot be imported ({exc})") from exc
    if not callable(handler):
        raise ConfigError(f"token_handler.handler: {path}: cannot be called")
    return cast("TokenHandler", handler)


def _scopes(metadata: object, *, takes_words: bool) -> tuple[tuple[Scope, ...] | None, tuple[str, ...]]:
    """Return the scopes of a session's metadata, None for no limit, and the words of the app's own among them.

    Raises:
        ValueError: There is a limit that cannot be read: it must not become none.
    """
    if metadata is None:
        return None, ()
    if not isinstance(metadata, Mapping):
        raise ValueError(f"metadata is a {type(metadata).__name__}, not a mapping")  # noqa: TRY004  # as below
    if "scope" not in metadata:
        return None, ()
    scope = cast("Mapping[str, object]", metadata)["scope"]
    # The keys of a mapping would be scopes that its values may deny.
    if isinstance(scope, (str, Mapping)) or not isinstance(scope, Iterable):
        raise ValueError("metadata.scope is not a list")  # noqa: TRY004  # the session is wrong, not our call
    texts = [text if isinstance(text, str) else _refuse(text) for text in cast("Iterable[object]", scope)]
    words = tuple(text for text in texts if takes_words and text != ALL and _is_word(text))
    scopes = tuple(parse_scope(text) for text in texts if text not in words)
    # Only words: they limit no path. An empty list allows nothing.
    return (None if words and not scopes else scopes), words


def _is_word(text: str) -> bool:
    return len(text) <= MAX_LENGTH and _WORD.match(text) is not None


def _refuse(text: object) -> str:
    raise ValueError(f"metadata.scope holds a {type(text).__name__}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def with_membership(identity: Identity, session: Session) -> Identity:
    """Return the identity with the roles, groups and flags that the site's session names."""
    committees = _names(session, "pmcs", "committees")
    roles = {role for key, role in _ROLES.items() if session.get(key) is True}
    return replace(
        identity,
        roles=tuple(sorted(roles | {"pmc_member"} if committees else roles)),
        groups=tuple(sorted(committees | _names(session, "projects"))),
        mfa=identity.mfa or session.get("mfa") is True,
        role_account=session.get("roleaccount") is True,
    )


def _names(session: Session, *keys: str) -> set[str]:
    found: set[str] = set()
    for key in keys:
        names = session.get(key)
        if isinstance(names, Iterable) and not isinstance(names, str):
            found.update(name for name in cast("Iterable[object]", names) if isinstance(name, str))
    return found


init_app, requires_authentication = airflow2_contract("token_handler", TokenHandlerBackend)
