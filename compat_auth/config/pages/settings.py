"""The look of our own pages: the site's name and logo, and a hint on the login page."""

from __future__ import annotations

from pydantic import Field

from compat_auth.config.fields import Section


class PageSettings(Section):
    """The look of our own pages."""

    site_name: str = Field(
        default="", max_length=64, description="Name of the site, for the header and the title of our own pages."
    )
    logo: str = Field(
        default="",
        description="File of the site's logo: PNG, JPEG, GIF or WebP, at most 128 KiB; read at the start.",
    )
    login_hint: str = Field(
        default="",
        max_length=500,
        description="Text on the login page, such as which password it asks for; shown as it is, never as HTML.",
    )
