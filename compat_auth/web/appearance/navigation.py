"""The links in the header of our pages: one list for all of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A link in the header.

    Attributes:
        path: Path below the prefix.
        text: Text of the link.
        for_admins: Only administrators see it.
    """

    path: str
    text: str
    for_admins: bool = False


ENTRIES = (
    Entry("", "Start"),
    Entry("tokens", "Tokens"),
    Entry("sessions", "Sessions"),
    Entry("report", "Report"),
    Entry("docs", "API"),
    Entry("all-tokens", "All tokens", for_admins=True),
    Entry("logout", "Log out"),
)
"""All links, in their order; a page that is not served has no link."""


def entries_for(served: Collection[str], *, is_admin: bool) -> tuple[Entry, ...]:
    """Return the links to pages that are served.

    Args:
        served: Paths below the prefix.
        is_admin: The user is an administrator.
    """
    return tuple(entry for entry in ENTRIES if entry.path in served and (is_admin or not entry.for_admins))
