"""Permissions: users manage their own tokens and those of their groups' role accounts; admins list and revoke all."""

from __future__ import annotations

from compat_auth.config import Settings
from compat_auth.errors import NoSuchToken, NotPermitted
from compat_auth.identity import Identity
from compat_auth.personal_tokens.service import PersonalTokens
from compat_auth.requirements import Requirements
from compat_auth.store.tables.personal_tokens import CREDENTIAL_KIND, PersonalToken
from compat_auth.store.tables.role_accounts import RoleAccountRows

# How the credential ids of the backends begin that accept programs: what these make would outlive them.
_OF_PROGRAMS = ("workload:", "airflow_task:")


class TokenPermissions:
    """Permissions for one set of tokens. Any thread may use it; methods may raise BackendUnavailable.

    Args:
        tokens: The tokens.
        admins: A user who meets one of these requirements may list and revoke the tokens of all users; empty: nobody.

    Raises:
        ConfigError: A requirement is unknown.
    """

    def __init__(self, tokens: PersonalTokens, admins: tuple[str, ...]) -> None:
        self._tokens = tokens
        self._roles = RoleAccountRows(tokens.rows.database)
        self._admins = Requirements(any_of=admins) if admins else None

    @classmethod
    def from_settings(cls, tokens: PersonalTokens, settings: Settings) -> TokenPermissions:
        """Return the permissions with the admins of `[personal_tokens] admins`.

        Raises:
            ConfigError: A requirement is unknown.
        """
        return cls(tokens, tuple(settings.personal_tokens.admins))

    @property
    def has_admins(self) -> bool:
        """Whether anybody can be an administrator."""
        return self._admins is not None

    def require_manager(self, identity: Identity) -> None:
        """Raise unless the caller manages tokens in person.

        Raises:
            NotPermitted: The caller is a personal token, a workload, a task or a role account; otherwise a thief could
                extend a stolen token.
        """
        if identity.credential_id.startswith((CREDENTIAL_KIND, *_OF_PROGRAMS)) or identity.role_account:
            raise NotPermitted("a personal token, a workload or a task cannot manage personal tokens; log in yourself")

    def is_admin(self, identity: Identity) -> bool:
        """Return whether the caller may list and revoke the tokens of all users."""
        return self._admins is not None and self._admins.met_by(identity)

    def is_role_of(self, identity: Identity, username: str) -> bool:
        """Return whether a user name is a role account of one of the caller's groups."""
        owners = self._roles.owners_of(username)
        return owners is not None and Requirements(any_of=(owners,)).met_by(identity)

    def require_owner(self, identity: Identity, username: str) -> bool:
        """Return whether a user name is a role account, if the caller may create tokens for it.

        Raises:
            NotPermitted: The caller may not.
        """
        owners = self._roles.owners_of(username)
        if owners is None and username == identity.username:
            return False
        if owners is not None and Requirements(any_of=(owners,)).met_by(identity):
            return True
        raise NotPermitted("you may create tokens only for yourself and the role accounts of your groups")

    def find(self, identity: Identity, token_id: str, *, to_revoke: bool = False) -> PersonalToken:
        """Return a token that the caller may change, or may see and revoke.

        Raises:
            NoSuchToken: There is none, or it is another user's; the caller does not learn which.
        """
        token = self._tokens.get(token_id)
        is_own = token.username == identity.username and not token.is_role
        if is_own or self.is_role_of(identity, token.username) or (to_revoke and self.is_admin(identity)):
            return token
        raise NoSuchToken("no such token")
