"""Tools for a directory of passwords: hashes that are checked in constant time, and a pool that bounds the work."""

from __future__ import annotations

from compat_auth.authn.passwords.checker import PasswordChecker, RightPassword, WrongPassword
from compat_auth.authn.passwords.hash_pool import HashPool
from compat_auth.authn.passwords.hashes import check_hash, decoy_like, find_fault
from compat_auth.authn.passwords.htpasswd import DISABLED as HTPASSWD_DISABLED
from compat_auth.authn.passwords.htpasswd import is_comment as is_htpasswd_comment

__all__ = [
    "HTPASSWD_DISABLED",
    "HashPool",
    "PasswordChecker",
    "RightPassword",
    "WrongPassword",
    "check_hash",
    "decoy_like",
    "find_fault",
    "is_htpasswd_comment",
]
