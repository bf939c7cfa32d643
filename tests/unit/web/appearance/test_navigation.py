"""The links in the header of our pages."""

from __future__ import annotations

from compat_auth.web.appearance.navigation import ENTRIES, entries_for


def test_a_page_that_is_not_served_has_no_link() -> None:
    found = entries_for({"", "sessions", "logout"}, is_admin=True)

    assert [entry.text for entry in found] == ["Start", "Sessions", "Log out"]


def test_only_administrators_see_the_links_to_their_pages() -> None:
    served = {entry.path for entry in ENTRIES}

    of_user, of_admin = entries_for(served, is_admin=False), entries_for(served, is_admin=True)

    assert of_admin == ENTRIES
    assert of_user == tuple(entry for entry in ENTRIES if not entry.for_admins)
