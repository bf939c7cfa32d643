"""The site's logo: an image file that is read once and checked by its content, not by its name.

SVG is refused: it can contain scripts, and a browser that opens the file itself would run them with our origin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from compat_auth.errors import ConfigError

MAX_BYTES = 128 * 1024
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


@dataclass(frozen=True, slots=True)
class Logo:
    """An image.

    Attributes:
        content: The bytes of the file.
        media_type: The type that its first bytes show.
    """

    content: bytes = field(repr=False)
    media_type: str


def load_logo(path: str) -> Logo | None:
    """Return the image in a file; None for an empty path.

    Raises:
        ConfigError: The file cannot be read, is too large, or is no PNG, JPEG, GIF or WebP.
    """
    if not path:
        return None
    file = Path(path)
    try:
        # A pipe or a device would block the start.
        if not file.is_file():
            raise ConfigError(f"pages.logo: {path}: there is no such file; write the path of an image, or remove it")
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"pages.logo: {path}: {error.strerror}; let the account of this process read it") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"pages.logo: {path}: larger than {MAX_BYTES} bytes; make the image smaller")
    media_type = _media_type_of(content)
    if media_type is None:
        raise ConfigError(f"pages.logo: {path}: neither PNG, JPEG, GIF nor WebP; convert the image to PNG")
    return Logo(content, media_type)


def _media_type_of(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for start, media_type in _SIGNATURES if content.startswith(start)), None)
