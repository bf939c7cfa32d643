"""`current_app.appbuilder.sm` for a module: FAB's security manager, on our directories and with our limits.

The same passwords are right, the same users are disabled, and a wrong password costs what it costs `basic_auth`. Users
are created and changed only where the operator has switched that on; elsewhere a module that wants a change is 503, for
what it would have taken away from the user must not go on counting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast

import flask

from compat_auth.authn.airflow2.stand_ins.auth_view import AuthView
from compat_auth.authn.airflow2.stand_ins.users import Role, User, role_names, user_of
from compat_auth.authn.passwords.checker import PasswordChecker, RightPassword
from compat_auth.authn.passwords.hash_pool import HashPool
from compat_auth.authn.users.directories import load_password_directories, load_user_directories, shared_directory
from compat_auth.authn.users.last_answers import LastAnswers
from compat_auth.config import Settings
from compat_auth.directory import DirectoryUser, UserDirectory
from compat_auth.errors import BackendUnavailable

# flask_appbuilder.const
AUTH_TYPES: Mapping[str, int] = {"oid": 0, "db": 1, "ldap": 2, "remote_user": 3, "oauth": 4}
USER_WRITER = "compat_auth_user_writer"
"""Key in `app.extensions` of the `UserWriter`, where users may be created and changed."""

logger = logging.getLogger("compat_auth.legacy")


class UserWriter(Protocol):
    """Creates and changes users of the upstream. Any thread may call."""

    def add(self, user: User) -> None:
        """Create the user.

        Raises:
            BackendUnavailable: It was not created.
        """
        ...

    def update(self, user: User, before: DirectoryUser) -> None:
        """Give the user the roles, e-mail address and names that a module has set.

        Raises:
            BackendUnavailable: It was not changed.
        """
        ...

    def add_role(self, name: str) -> None:
        """Create a role without permissions.

        Raises:
            BackendUnavailable: It was not created.
        """
        ...


class SecurityManager:
    """The methods of FAB's security manager that modules call; whatever FAB has beyond is not there, and AttributeError says so.

    Args:
        directories: Where names are looked up, in order.
        checker: Checks passwords of the local directories.
        ldap: Checks passwords of the LDAP directory, or None where there is none.
        auth_type: FAB's number for the kind of login, see `AUTH_TYPES`.
        auth_role_public: FAB's AUTH_ROLE_PUBLIC, or "".
        believed_s: See `LastAnswers`.
        registration_role: The role of users that `auth_user_oauth` creates; "": it creates nobody.
    """

    user_model = User
    role_model = Role
    auth_username_ci = True
    auth_roles_sync_at_login = False

    def __init__(
        self,
        directories: tuple[UserDirectory, ...],
        *,
        checker: PasswordChecker | None,
        ldap: PasswordChecker | None,
        auth_type: int = AUTH_TYPES["db"],
        auth_role_public: str = "",
        believed_s: float = 0,
        registration_role: str = "",
    ) -> None:
        self.auth_user_registration_role = registration_role
        self._directories = directories
        self._checker = checker
        self._ldap = ldap
        self.auth_type = auth_type
        self.auth_role_public = auth_role_public
        self._last_answers = LastAnswers(believed_s)

    @property
    def lm(self) -> Any:
        """flask-login's manager of the current app."""
        return cast("Any", flask.current_app).login_manager

    @property
    def auth_user_registration(self) -> bool:
        """Whether `auth_user_oauth` creates users."""
        return bool(self.auth_user_registration_role) and self._writer is not None

    @property
    def auth_view(self) -> AuthView:
        """The login page, as far as a module asks it."""
        return AuthView(self)

    @property
    def _writer(self) -> UserWriter | None:
        return cast("UserWriter | None", flask.current_app.extensions.get(USER_WRITER))

    def find_user(self, username: str | None = None, email: str | None = None) -> User | None:
        """Return the user of that name, else of that e-mail address, active or not; None if unknown.

        Raises:
            BackendUnavailable: A directory could not be asked.
        """
        if username:
            return self._find(username, lambda found: found.username.casefold() == username.casefold())
        if email:
            return self._find(email, lambda found: found.email == email)
        return None

    def get_user_by_id(self, pk: Any) -> User | None:
        """Return the user with that key in Airflow's database, active or not; None if unknown.

        Raises:
            BackendUnavailable: The directory could not be asked.
        """
        for directory in self._directories:
            by_id: Callable[[str], DirectoryUser | None] | None = getattr(directory, "find_by_id", None)
            if by_id is not None and (found := by_id(str(pk))) is not None:
                return user_of(found, directory.name)
        return None

    load_user = get_user_by_id

    def find_role(self, name: str) -> Role | None:
        """Return the role of that name; None where Airflow's database has none.

        Raises:
            BackendUnavailable: The database could not be asked.
        """
        askable = [directory for directory in self._directories if hasattr(directory, "has_role")]
        if askable and not any(cast("Any", directory).has_role(name) for directory in askable):
            return None
        return Role(name) if name else None

    def add_role(self, name: str) -> Role | None:
        """Return the role of that name, created without permissions where there is none.

        Raises:
            BackendUnavailable: Roles are not created here, or the upstream did not create this one.
        """
        if self.find_role(name) is None:
            self._require_writer(f"add role {name!r}").add_role(name)
        return Role(name)

    def auth_user_db(self, username: str, password: str, rotate_session_id: bool = True) -> User | None:
        """Return the user with this password in the local directories; None for nobody.

        Raises:
            BackendUnavailable: A directory could not be asked.
            Overloaded: Too many checks are waiting.
        """
        del rotate_session_id
        return self._checked(self._checker, username, password)

    def auth_user_ldap(self, username: str, password: str, rotate_session_id: bool = True) -> User | None:
        """Return the user with this password in the LDAP directory; None for nobody. See `auth_user_db`."""
        del rotate_session_id
        return self._checked(self._ldap, username, password)

    def auth_user_oauth(self, userinfo: Mapping[str, Any], rotate_session_id: bool = True) -> User | None:
        """Return the active user whom the claims of a provider name, created where that is switched on; None for nobody.

        Args:
            userinfo: With `username` or `email`, as `oauth_user_info` of a site's security manager returns it.
            rotate_session_id: Without effect.

        Raises:
            BackendUnavailable: A directory could not be asked, or the user could not be created.
        """
        del rotate_session_id
        # As FAB: where there is a name, the address counts for nothing.
        username = str(userinfo.get("username" if "username" in userinfo else "email") or "")
        user = self.find_user(username=username) if username else None
        if user is None and username and self.auth_user_registration:
            return self.add_user(
                username,
                str(userinfo.get("first_name") or username),
                str(userinfo.get("last_name") or "-"),
                str(userinfo.get("email") or f"{username}@email.notfound"),
                # Never what the provider says: AUTH_ROLES_MAPPING says what that means, and is not known here.
                Role(self.auth_user_registration_role),
            )
        return user if user is not None and user.is_active else None

    def auth_user_remote_user(self, username: str) -> User | None:
        """Return the active user of a name that a front end vouches for; None for nobody. See `find_user`."""
        user = self.find_user(username=username)
        return user if user is not None and user.is_active else None

    def auth_user_oid(self, email: str) -> User | None:
        """Return the active user of an e-mail address; None for nobody. See `find_user`."""
        user = self.find_user(email=email)
        return user if user is not None and user.is_active else None

    def add_user(  # FAB's own signature
        self,
        username: str,
        first_name: str,
        last_name: str,
        email: str,
        role: Role | list[Role] | None = None,
        password: str = "",
        hashed_password: str = "",
    ) -> User | None:
        """Create a user, who has no password here.

        Raises:
            BackendUnavailable: Creating users is switched off, or the upstream did not create this one.
        """
        del password, hashed_password
        writer = self._require_writer(f"add user {username!r}")
        roles = role if isinstance(role, list) else [role] if role is not None else []
        made = User(
            username=username, first_name=first_name, last_name=last_name, email=email, roles=roles, active=True
        )
        writer.add(made)
        return self.find_user(username=username)

    def update_user(self, user: User) -> bool:
        """Write what a module has changed of a user; True also where nothing has changed.

        Raises:
            BackendUnavailable: Changing users is switched off, or the upstream did not change this one.
        """
        before = next((found for found, _ in self._look_up(user.username)), None)
        if before is not None and self._is_same(user, before):
            return True
        writer = self._require_writer(f"change user {user.username!r}")
        if before is None:
            writer.add(user)
        else:
            writer.update(user, before)
        return True

    def update_user_auth_stat(self, user: User, success: bool = True) -> None:
        """Count nothing: logins are in the audit log."""

    @staticmethod
    def _is_same(user: User, before: DirectoryUser) -> bool:
        same_email = not user.email or user.email == before.email
        return role_names(user) == tuple(sorted(before.roles)) and same_email and user.active == before.active

    def _require_writer(self, wish: str) -> UserWriter:
        writer = self._writer
        if writer is None:
            logger.error(
                "a module of Airflow 2 wants to %s, and users are not changed here; set [airflow2_modules] "
                "write_users_as to an administrator's name",
                wish,
            )
            raise BackendUnavailable("a module of Airflow 2 wants to change a user; compat-auth check says more")
        return writer

    def _checked(self, checker: PasswordChecker | None, username: str, password: str) -> User | None:
        if checker is None or not username or not password:
            return None
        checked = checker.check(username, password)
        return user_of(checked.user, checked.directory) if isinstance(checked, RightPassword) else None

    def _find(self, asked_for: str, matches: Callable[[DirectoryUser], bool]) -> User | None:
        return next((user_of(found, name) for found, name in self._look_up(asked_for) if matches(found)), None)

    def _look_up(self, asked_for: str) -> Iterator[tuple[DirectoryUser, str]]:
        for directory in self._directories:
            found = self._last_answers.find(directory, asked_for)
            if found is not None:
                yield found, directory.name


def security_manager_of(settings: Settings) -> SecurityManager:
    """Return the security manager on the configured directories.

    Raises:
        ConfigError: A directory is missing or misconfigured.
    """
    looked_up = settings.lookup.directories or (["airflow_db"] if settings.airflow_db.url.get_secret_value() else [])
    local = [name for name in settings.basic_auth.directories if name != "ldap"]
    has_ldap = "ldap" in settings.basic_auth.directories
    # The pool of basic_auth: what may be computed at once is counted in one place.
    pool = shared_directory(HashPool, settings)
    chosen = settings.airflow2_modules.auth_type or ("ldap" if has_ldap else "db")
    return SecurityManager(
        load_user_directories(looked_up, settings) if looked_up else (),
        checker=PasswordChecker(load_password_directories(local, settings), pool) if local else None,
        ldap=PasswordChecker(load_password_directories(["ldap"], settings), pool) if has_ldap else None,
        auth_type=AUTH_TYPES[chosen],
        auth_role_public=settings.airflow2.auth_role_public,
        believed_s=settings.basic_auth.cache_ttl_s,
        registration_role=settings.airflow2_modules.registration_role,
    )
