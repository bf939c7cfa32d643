"""The search, the order and the page of a list, as the query of its URL has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

PAGE_SIZE = 20
"""Rows of a list on one page."""
MAX_TEXT = 100
"""Longest text of a search, in characters."""
# Nobody pages further: the search is for that.
_MAX_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A user's choice for a list.

    Attributes:
        text: Text to search for; "" finds everything.
        sort: Name of the order.
        page: Number of the page, from 1.
    """

    text: str
    sort: str
    page: int = 1

    @classmethod
    def from_args(cls, args: Mapping[str, str], sorts: Collection[str]) -> ListQuery:
        """Return the choice in a query; a value that makes no sense counts as the default.

        Args:
            args: The parameters `q`, `sort` and `page`.
            sorts: Names of the orders; the first is the default.
        """
        text, sort, page = args.get("q", "").strip()[:MAX_TEXT], args.get("sort", ""), args.get("page", "")
        number = int(page) if page.isascii() and page.isdigit() and len(page) <= len(str(_MAX_PAGE)) else 1
        # PostgreSQL refuses a NUL, and no name has a control character.
        searched = text if text.isprintable() else ""
        return cls(searched, sort if sort in sorts else next(iter(sorts)), min(max(1, number), _MAX_PAGE))

    @property
    def offset(self) -> int:
        """Number of rows on the pages before this one."""
        return (self.page - 1) * PAGE_SIZE

    def at(self, page: int) -> str:
        """Return the query of another page of the same list."""
        return "?" + urlencode({"q": self.text, "sort": self.sort, "page": page})


@dataclass(frozen=True, slots=True)
class Pager:
    """The links below a list.

    Attributes:
        query: The user's choice.
        total: Rows on all pages.
    """

    query: ListQuery
    total: int

    @property
    def pages(self) -> int:
        """Number of pages; at least 1."""
        return max(1, -(-self.total // PAGE_SIZE))

    @property
    def page(self) -> int:
        """Number of the page that is shown: after the last page, the last one."""
        return min(self.query.page, self.pages)

    @property
    def previous(self) -> str:
        """Query of the page before; "" on the first one."""
        return self.query.at(self.page - 1) if self.page > 1 else ""

    @property
    def following(self) -> str:
        """Query of the next page; "" on the last one."""
        return self.query.at(self.page + 1) if self.page < self.pages else ""
