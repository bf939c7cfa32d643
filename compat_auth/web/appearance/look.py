"""The look of the site on all pages: its name, its logo, a hint for the login, and what the way back leads to."""

from __future__ import annotations

from dataclasses import dataclass, field

from compat_auth.config import Settings
from compat_auth.web.appearance.logo import Logo, load_logo

LOGO = "logo"
"""Path of the logo, below the prefix."""


@dataclass(frozen=True, slots=True)
class Look:
    """The look of a site.

    Attributes:
        site_name: Name of the site, or "".
        login_hint: Text for the login page, or "".
        logo: The logo, or None.
        upstream: What people call the application that our pages lead back to.
    """

    site_name: str = ""
    login_hint: str = ""
    logo: Logo | None = field(default=None, repr=False)
    upstream: str = "the application"

    @classmethod
    def from_settings(cls, settings: Settings) -> Look:
        """Return the look that `[pages]` describes.

        Raises:
            ConfigError: The logo's file is unusable.
        """
        pages = settings.pages
        upstream = "the application" if settings.upstream.profile == "generic" else "Airflow"
        return cls(pages.site_name.strip(), pages.login_hint.strip(), load_logo(pages.logo), upstream)

    def values(self) -> dict[str, object]:
        """Return the values that every template uses."""
        return {
            "site_name": self.site_name,
            "login_hint": self.login_hint,
            "has_logo": self.logo is not None,
            "back_text": f"Back to {self.upstream}",
        }
