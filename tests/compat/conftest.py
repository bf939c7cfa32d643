"""What these tests prepare once."""

from support.prepared import prepared

__all__ = ["prepared"]
