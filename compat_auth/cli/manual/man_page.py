"""A manual page of a tree of commands, in the man macros of roff (man(7))."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

_SECTIONS = re.compile(r"^(\.|')", re.MULTILINE)


def man_page(root: click.Command, *, name: str, version: str, status: tuple[tuple[str, str], ...]) -> str:
    """Return the page of a command and of all its subcommands.

    Args:
        root: The command.
        name: As it is typed.
        version: For the foot of the page.
        status: Exit statuses and their meanings.

    Returns:
        ASCII and UTF-8 text for `man --local-file`.
    """
    lines = [
        f'.TH {_quoted(name.upper())} 1 "" {_quoted(f"{name} {version}")} "User Commands"',
        ".SH NAME",
        rf"{_plain(name)} \- {_plain(_first_line(root))}",
        ".SH SYNOPSIS",
        rf".B {_plain(name)}",
        r"[\-\-version] [\-\-help] \fICOMMAND\fR [\fIARGUMENT\fR...]",
        ".SH COMMANDS",
    ]
    for words, command in _leaves(root, (name,)):
        lines += _command(words, command)
    lines += [".SH EXIT STATUS"]
    for number, meaning in status:
        lines += [".TP", rf"\fB{_plain(number)}\fR", _plain(meaning)]
    lines += [
        ".SH FILES",
        ".TP",
        r"\fI./compat_auth.toml\fR",
        _plain("The configuration, unless --config or $COMPAT_AUTH_CONFIG names another file."),
        ".SH ENVIRONMENT",
        ".TP",
        r"\fBCOMPAT_AUTH_CONFIG\fR",
        "The configuration file.",
        ".TP",
        r"\fBCOMPAT_AUTH_LOG_LEVEL\fR",
        "DEBUG, INFO, WARNING or ERROR.",
        ".TP",
        r"\fBCOMPAT_AUTH_\fISECTION\fB__\fIKEY\fR",
        _plain("A setting; `compat-auth settings` lists all of them."),
        ".SH SEE ALSO",
        _plain("compat-auth docs serves the documentation."),
    ]
    return "\n".join(lines) + "\n"


def _leaves(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that is no group, with the words that call it."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        if inner is not None and not inner.hidden:
            yield from _leaves(inner, (*words, name))


def _command(words: tuple[str, ...], command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=words[-1])
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS {_quoted(' '.join(words[1:]))}"
    yield rf".B {_plain(' '.join(words))}"
    yield _plain(usage)
    yield ".PP"
    paragraphs = (command.help or "").replace("\b\n", "").split("\n\n")
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ".PP"
        yield from _paragraph(paragraph)
    for parameter in command.params:
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            yield ".TP"
            yield rf"\fB{_plain(record[0])}\fR"
            yield _plain(record[1])


def _paragraph(text: str) -> Iterator[str]:
    """Yield a paragraph; each of its examples is a line of its own."""
    for number, line in enumerate(re.split(r"\n(?=Example: )", text.strip())):
        if number:
            yield ".br"
        yield _plain(" ".join(line.split()))


def _first_line(command: click.Command) -> str:
    return (command.help or "").strip().partition("\n")[0]


def _plain(text: str) -> str:
    """Return text that roff shows as it is: backslashes, hyphens and control lines are escaped."""
    escaped = (
        " ".join(text.split()).replace("\\", r"\(rs").replace("-", r"\-").replace("`", r"\(ga").replace("^", r"\(ha")
    )
    return _SECTIONS.sub(r"\\&\1", escaped.replace("~", r"\(ti"))


def _quoted(text: str) -> str:
    return '"' + _plain(text).replace('"', r"\(dq") + '"'
