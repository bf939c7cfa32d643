"""A name stays a name in a search filter, whatever is in it (RFC 4515)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat_auth.config import LdapSettings
from compat_auth_backends.directories.ldap import LdapDirectory
from compat_auth_backends.ldap.settings import fill_filter

# What may stand in an assertion value unescaped (RFC 4515 section 3: `normal`).
VALUE = re.compile(r"(?:[^\0()*\\]|\\[0-9a-fA-F]{2})*")
NASTY = st.lists(
    st.sampled_from(["*", "(", ")", "\\", "\0", "{", "}", "dn", "username", "a", "é", "=", "|", "&", "!"])
).map("".join)
NAMES = st.text(st.characters(exclude_categories=["Cs"])) | NASTY


def unescaped(value: str) -> str:
    """Read an assertion value as a server does."""
    raw = re.sub(rb"\\([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), value.encode())
    return raw.decode()


@given(NAMES)
def test_a_name_comes_back_from_the_filter_as_it_was(name: str) -> None:
    query = fill_filter("(uid={username})", username=name)

    value = query.removeprefix("(uid=").removesuffix(")")

    assert VALUE.fullmatch(value)
    assert unescaped(value) == name


@given(NAMES, NAMES)
def test_what_a_value_contains_is_never_a_placeholder(name: str, dn: str) -> None:
    query = fill_filter("(&(a={dn})(b={username}))", username=name, dn=dn)

    found = re.fullmatch(rf"\(&\(a=({VALUE.pattern})\)\(b=({VALUE.pattern})\)\)", query)

    assert found is not None
    assert (unescaped(found[1]), unescaped(found[2])) == (dn, name)


class Server:
    """Remembers the searches; knows nobody."""

    def __init__(self) -> None:
        self.searches: list[str] = []

    def connect(self, _url: str) -> Server:
        return self

    def search_ext_s(self, _base: str, _scope: int, query: str, _names: list[str], **_options: Any) -> list[Any]:
        self.searches.append(query)
        return []

    def set_option(self, *_option: object) -> None: ...
    def simple_bind_s(self, *_who: object) -> None: ...
    def unbind_ext_s(self) -> None: ...


@given(NAMES | st.text())
def test_no_name_makes_a_search_of_another_shape_and_none_is_an_error(name: str) -> None:
    server = Server()
    directory = LdapDirectory(
        LdapSettings(url=["ldapi://nowhere"], base="dc=a", user_filter="(&(uid={username})(b=c))")
    )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory._searches, "_connect", server.connect)
        found = directory.find(name)

    assert found is None
    assert all(re.fullmatch(rf"\(&\(uid={VALUE.pattern}\)\(b=c\)\)", query) for query in server.searches)
