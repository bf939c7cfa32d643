"""A caller acts for a user (`doAs` of Hadoop and Knox): whom it names, and whether the rules allow it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote_plus

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.config import Settings
from compat_auth.config.do_as import DoAsSettings
from compat_auth.errors import AmbiguousCredentials, BadRequest, ConfigError, NoSuchUser, NotPermitted
from compat_auth.http.headers import Intake
from compat_auth.identity import Identity

_HEADER = b"x-do-as"
_FOLD = bytes.maketrans(b"_.", b"--")
# No comma: servers join two headers with one. No blank: directories fold them.
_NAME = re.compile(r"[!-+\--~]{1,256}\Z")
_QUERY = re.compile(r"(?:^|[&;])\s*doas\s*(?:=|&|;|$)", re.IGNORECASE)


def require_nobody_in(query: bytes) -> None:
    """Raise if the query of a request names a user for whom the caller wants to act.

    Raises:
        BadRequest: It does.
    """
    if _QUERY.search(unquote_plus(query.decode("latin-1"))):
        raise BadRequest("doAs: not in the query, which is logged in many places; send the header X-Do-As")


def take_acts_for(intake: Intake, query: bytes) -> None:
    """Set the user for whom the caller wants to act, and keep the header from the upstream.

    Raises:
        AmbiguousCredentials: Two users are named.
        BadRequest: No user is named, in a header that some servers take for this one or in the query, or the request
            has no credential of its own in `Authorization`.
    """
    require_nobody_in(query)
    found = [header for header in intake.kept if header[0].translate(_FOLD) == _HEADER]
    if not found:
        return
    if len(found) > 1:
        raise AmbiguousCredentials("X-Do-As: two headers in one request; send one")
    [(name, value)] = found
    if name != _HEADER:
        raise BadRequest("header section: a name with '_' or '.' that some servers take for X-Do-As")
    text = value.decode("latin-1")
    if not _NAME.match(text):
        raise BadRequest("X-Do-As: not one user name in plain ASCII without blanks and commas")
    if intake.authorization is None:
        # A browser sends its cookie for any site's page.
        raise BadRequest("X-Do-As: needs the caller's own credential in Authorization; cookies do not count")
    intake.acts_for = text
    intake.kept = [header for header in intake.kept if header not in found]


@dataclass(frozen=True, slots=True)
class Acting:
    """Says who may act for whom.

    Attributes:
        rules: See `[[do_as]]`; any one of them.
        complete: Completes the user in the directories.
        more_roles: Returns the roles that the upstream may give to a completed user besides those in the identity.
    """

    rules: Sequence[DoAsSettings]
    complete: Callable[[Identity], Identity]
    more_roles: Callable[[Identity], Collection[str]] = lambda _user: ()

    @classmethod
    def from_settings(
        cls, settings: Settings, lookup: UserLookup, more_roles: Callable[[Identity], Collection[str]]
    ) -> Acting:
        """Return the rules of `[[do_as]]`.

        Args:
            settings: With the rules.
            lookup: Completes the user.
            more_roles: See the class.

        Raises:
            ConfigError: Nobody can tell whether a user exists, or there can be no token for one.
        """
        if settings.do_as and settings.token.strategy == "exchange":
            raise ConfigError(
                '[[do_as]]: [token] strategy = "exchange" gets tokens for a password alone; use shared_secret or key_pair'
            )
        if settings.do_as and not lookup.directories:
            raise ConfigError("[[do_as]]: needs [lookup] directories, which say who exists and is active; set them")
        return cls(tuple(settings.do_as), lookup.complete, more_roles)

    def become(self, caller: Identity, name: str, client: str) -> Identity:
        """Return the user for whom the caller acts: limited as the caller's credential is.

        Args:
            caller: As the chain vouches.
            name: Of the user.
            client: Address of the caller.

        Raises:
            NotPermitted: No rule lets the caller act for others.
            NoSuchUser: The user is unknown, disabled, or a role account, or no rule covers the user; or the caller is
                unknown or disabled.
            BackendUnavailable: A directory could not be asked.
        """
        if not caller.role_account:
            # For the token only the user is looked up, and a password file does not know whom Airflow has disabled.
            caller = replace(caller, username=self.complete(Identity(caller.username, caller.backend)).username)
        rules = [rule for rule in self.rules if _is_for(rule, caller, client)]
        if not rules:
            raise NotPermitted(f"X-Do-As: no rule of [[do_as]] lets {caller.username!r} act for others from here")
        user = self.complete(Identity(name, caller.backend))
        if not user.directory:
            raise NoSuchUser(f"{name!r} is unknown")
        if not any(user.username in rule.users or self._has_only_roles_of(rule, user) for rule in rules):
            # As if there were no such user: the caller would learn whom the directory knows, and by which name.
            raise NoSuchUser(f"X-Do-As: no rule of [[do_as]] lets {caller.username!r} act for {user.username!r}")
        return replace(
            user,
            subject=user.username,
            scopes=caller.scopes,
            expires_at=caller.expires_at,
            credential_id=caller.credential_id,
            certificate=caller.certificate,
            actor=caller.username,
            login=caller.login,
        )

    def _has_only_roles_of(self, rule: DoAsSettings, user: Identity) -> bool:
        if not user.roles or not set(user.roles) <= set(rule.roles):
            return False
        allowed = {role.casefold() for role in rule.roles}
        return all(role.casefold() in allowed for role in self.more_roles(user))


def _is_for(rule: DoAsSettings, caller: Identity, client: str) -> bool:
    if caller.actor or caller.username not in rule.callers or (rule.backends and caller.backend not in rule.backends):
        return False
    if not rule.networks:
        return True
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    networks = (ipaddress.ip_network(network, strict=False) for network in rule.networks)
    return any(address.version == network.version and address in network for network in networks)
