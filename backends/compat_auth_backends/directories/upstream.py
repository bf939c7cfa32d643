"""The upstream itself checks the password, at its own `/auth/token`; the token in its answer is cached."""

from __future__ import annotations

from compat_auth.config import Settings
from compat_auth.directory import DirectoryUser, PasswordAccepted
from compat_auth.errors import BackendUnavailable, Overloaded
from compat_auth.resilience import CircuitBreaker
from compat_auth.users import NO_PASSWORDS, UpstreamLogin

# Its hash of a password takes a while, on a machine that has other work.
_PATIENCE_S = 5.0


class UpstreamDirectory:
    """Users whom the upstream accepts. It reveals neither their e-mail addresses nor their roles."""

    name = "upstream"
    needs = ("[upstream] url",)
    answers_without_flask = True

    def __init__(self, login: UpstreamLogin) -> None:
        self._login = login
        self._outage = CircuitBreaker(patience_s=_PATIENCE_S)

    @classmethod
    def from_settings(cls, settings: Settings) -> UpstreamDirectory:
        """Return the directory of `[upstream] url`.

        Raises:
            ConfigError: No upstream is named.
        """
        return cls(UpstreamLogin.from_settings(settings))

    def problems(self) -> list[str]:
        """Return the problems that make every password fail, for `compat-auth check`."""
        try:
            takes_passwords = self._login.takes_passwords()
        except BackendUnavailable:
            # That it is away is said of the upstream itself.
            return []
        return [] if takes_passwords else [f"[upstream] url: nothing answers POST at /auth/token: {NO_PASSWORDS}"]

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Return the user when the upstream issues a token; None when it refuses.

        Raises:
            BackendUnavailable: The upstream could not be asked, or does not answer and others wait for it.
        """
        try:
            with self._outage.trying():
                token = self._login.log_in(username, password)
        except ConnectionError as exc:
            raise Overloaded(f"upstream: its login is {exc}") from exc
        return None if token is None else PasswordAccepted(DirectoryUser(username), token)
