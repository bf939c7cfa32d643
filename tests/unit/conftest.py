"""What several tests need."""

from support.prepared import prepared
from support.token_fixtures import tokens, world

__all__ = ["prepared", "tokens", "world"]
