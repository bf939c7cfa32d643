"""Settings of the stages."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from compat_auth.config.fields import Section

# What may stand between < and > in a Link header (RFC 8288 section 3), and needs no encoding there.
_PAGE = re.compile(r"https?://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+\Z")


def _require_address(value: str) -> str:
    if value and not _PAGE.match(value):
        raise ValueError(
            "not an address; write one such as https://wiki.example.org/logins, with only ASCII characters"
        )
    return value


class StagesSettings(Section):
    """Stages of logins that end, see `compat-auth stages`."""

    page: Annotated[str, AfterValidator(_require_address)] = Field(
        default="",
        description="Address of the site's page about the end of logins, which answers name in `Link`; empty: none.",
    )
