"""A keyring in memory in the place of the system's, and a folder in the place of the person's."""

from support.keyring_fixtures import config_home, system_keyring

__all__ = ["config_home", "system_keyring"]
