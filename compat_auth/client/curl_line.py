"""Parse curl's command line as curl does: which URLs it requests, and whether it discloses the token. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from compat_auth.client.errors import CurlLineRefused

# Options that would send the header elsewhere, or write it to a file.
_REFUSED = {
    "config": "may name any other address",
    "location-trusted": "sends the token wherever the server redirects",
    "insecure": "sends the token to any server that answers",
    "connect-to": "sends the token to another machine",
    "resolve": "sends the token to another machine",
    "unix-socket": "sends the token to another program",
    "abstract-unix-socket": "sends the token to another program",
    "libcurl": "writes the token to a file",
    "trace": "writes the token to a file",
    "trace-ascii": "writes the token to a file",
    "user": "is a second credential",
    "oauth2-bearer": "is a second credential",
    "netrc": "is a second credential",
    "netrc-file": "is a second credential",
    "netrc-optional": "is a second credential",
    "negotiate": "is a second credential",
    "url-query": "cannot be checked here; write the query into the URL",
    "expand-url": "cannot be checked here",
}
_HELP_LINE = re.compile(r"^\s{0,3}(?:-(?P<short>.), )?\s*--(?P<long>[a-z0-9.-]+)(?P<value> <[^>]*>)?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CurlOptions:
    """The options of the installed curl.

    Attributes:
        takes_value: Whether an option takes a value, by long name.
        long_name: Long names, by letter.
    """

    takes_value: dict[str, bool]
    long_name: dict[str, str]


def read_help(text: str) -> CurlOptions:
    """Return the options in the text that `curl --help all` prints."""
    takes_value: dict[str, bool] = {}
    long_name: dict[str, str] = {}
    for found in _HELP_LINE.finditer(text):
        takes_value[found["long"]] = found["value"] is not None
        if found["short"]:
            long_name[found["short"]] = found["long"]
    return CurlOptions(takes_value, long_name)


def urls_of(arguments: tuple[str, ...], options: CurlOptions) -> Iterator[int]:
    """Yield the index of each argument that is a URL, or a path of one.

    Raises:
        CurlLineRefused: An option is unknown, is abbreviated, or would disclose the token.
    """
    place = 0
    only_urls = False
    while place < len(arguments):
        argument = arguments[place]
        if only_urls or argument == "-" or not argument.startswith("-"):
            yield place
        elif argument == "--":
            only_urls = True
        else:
            names = [argument[2:]] if argument.startswith("--") else _letters(argument[1:], options)
            for name in names:
                _check(name, options)
            last = names[-1]
            if options.takes_value.get(last) and (argument.startswith("--") or _is_last_letter(argument, options)):
                place += 1
                if last == "url":
                    yield place
        place += 1


def _letters(cluster: str, options: CurlOptions) -> list[str]:
    names: list[str] = []
    for letter in cluster:
        name = options.long_name.get(letter)
        if name is None:
            raise CurlLineRefused(f"-{letter}: not an option of this curl")
        names.append(name)
        if options.takes_value[name]:
            break  # the rest is its value
    return names


def _is_last_letter(argument: str, options: CurlOptions) -> bool:
    return len(_letters(argument[1:], options)) == len(argument) - 1


def _check(name: str, options: CurlOptions) -> None:
    plain = name.removeprefix("no-")
    # curl accepts any unambiguous abbreviation: --location-t is --location-trusted.
    if name not in options.takes_value and plain not in options.takes_value:
        raise CurlLineRefused(f"--{name}: not an option of this curl, or abbreviated; write it in full")
    reason = _REFUSED.get(name)
    if reason is not None:
        raise CurlLineRefused(f"--{name} {reason}; call curl itself for that")
