"""The site's logo is an image by its content, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compat_auth.errors import ConfigError
from compat_auth.web.appearance.logo import MAX_BYTES, load_logo

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("start", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"GIF87a", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBP", "image/webp"),
    ],
    ids=["png", "jpeg", "gif89", "gif87", "webp"],
)
def test_the_type_of_a_logo_is_that_of_its_content_not_of_its_name(
    tmp_path: Path, start: bytes, media_type: str
) -> None:
    file = tmp_path / "logo.svg"
    file.write_bytes(start + b"rest")

    logo = load_logo(str(file))

    assert logo is not None
    assert (logo.media_type, logo.content) == (media_type, start + b"rest")


@pytest.mark.parametrize(
    "content",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"<!doctype html>",
        b" " + PNG,
        b"RIFF\x10\x00\x00\x00WAVE",
        b"GIF88a",
        b"",
    ],
    ids=["svg", "xml", "html", "blank-before", "sound", "no-gif", "empty"],
)
def test_a_file_that_is_no_image_is_refused_whatever_its_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "logo.png"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match="neither PNG, JPEG, GIF nor WebP"):
        load_logo(str(file))


@pytest.mark.parametrize(("size", "fits"), [(MAX_BYTES, True), (MAX_BYTES + 1, False)], ids=["most", "too-large"])
def test_a_logo_has_a_limit(tmp_path: Path, size: int, fits: bool) -> None:
    file = tmp_path / "logo.png"
    file.write_bytes(PNG + b"x" * (size - len(PNG)))

    if fits:
        assert load_logo(str(file)) is not None
    else:
        with pytest.raises(ConfigError, match="larger than 131072 bytes"):
            load_logo(str(file))


@pytest.mark.parametrize("kind", ["none", "folder", "pipe"])
def test_what_is_no_file_is_refused_and_does_not_block_the_start(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "logo.png"
    if kind == "folder":
        path.mkdir()
    if kind == "pipe":
        os.mkfifo(path)

    with pytest.raises(ConfigError, match="there is no such file"):
        load_logo(str(path))


def test_without_a_path_there_is_no_logo() -> None:
    assert load_logo("") is None
