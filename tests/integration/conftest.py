"""What several tests need."""

from support.token_fixtures import tokens, world

__all__ = ["tokens", "world"]
