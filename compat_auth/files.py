"""Files that decide who gets in: refused while anybody but their owner and root can change them."""

from __future__ import annotations

from compat_auth.crypto.file_modes import read_unwritable, refuse_writable, refuse_writable_at

__all__ = [
    "read_unwritable",
    "refuse_writable",
    "refuse_writable_at",
]
