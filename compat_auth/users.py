"""Users by name: the configured look-up, the installed directories, and the users of the upstream."""

from __future__ import annotations

from compat_auth.authn.users.directories import load_directories, load_password_directories, shared_directory
from compat_auth.authn.users.logins import has_logins
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.authn.users.objects import identity_of, is_disabled
from compat_auth.personal_tokens.owners import Accounts
from compat_auth.tokens.upstream_login import NO_PASSWORDS, UpstreamLogin
from compat_auth.tokens.upstream_users import NewUser, UpstreamUsers

__all__ = [
    "NO_PASSWORDS",
    "Accounts",
    "NewUser",
    "UpstreamLogin",
    "UpstreamUsers",
    "UserLookup",
    "has_logins",
    "identity_of",
    "is_disabled",
    "load_directories",
    "load_password_directories",
    "shared_directory",
]
