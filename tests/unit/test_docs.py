"""The documentation and the code say the same."""

import functools
import re
import runpy
import shlex
import sys
import tomllib
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import click
import pytest
from click.testing import CliRunner
from flask import Flask
from pydantic import BaseModel

from compat_auth import errors
from compat_auth.app import Gateway
from compat_auth.authn.registry import AIRFLOW_NAMES, installed_backends, load_chain
from compat_auth.cli import commands, context
from compat_auth.config import Settings, parse_settings
from compat_auth.credentials import Bearer
from compat_auth.outcome import Accept, Reject, Skip

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Where a command line may begin: after what makes it another user's, another folder's or a pipe's end.
_COMMAND = re.compile(r"(?:^|[=| ])(?:\S*/)?compat-auth (?P<arguments>[^|>\n]+)", re.MULTILINE)
# Nothing is asked: the port stands for an upstream that exists.
UPSTREAM = {"upstream": {"url": "http://127.0.0.1:9"}}

REFERENCE = runpy.run_path(str(DOCS / "_ext" / "reference_text.py"))
read_page = cast("Callable[[Path], str]", REFERENCE["read_page"])
to_svg = cast("Callable[[str, str], str]", runpy.run_path(str(DOCS / "_ext" / "sequence_diagram.py"))["to_svg"])


@functools.cache
def page(name: str) -> str:
    return read_page(DOCS / name)


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Yield each code block of a language with its page and its number there."""
    for path in PAGES:
        found = [text for name, text in _BLOCK.findall(path.read_text(encoding="utf-8")) if name == language]
        for number, text in enumerate(found, start=1):
            yield f"{path.relative_to(DOCS)}:{number}", text


def settings_of(model: type[BaseModel] = Settings, section: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the description of every setting that holds a value."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        kinds = typing.get_args(kind) or (kind,)
        if isinstance(kinds[0], type) and issubclass(kinds[0], BaseModel):
            yield from settings_of(kinds[0], f"{section}{name}.")
        else:
            yield f"{section}{name}", field.description or ""


def error_classes(
    base: type[errors.CompatAuthError] = errors.CompatAuthError,
) -> Iterator[type[errors.CompatAuthError]]:
    if base.__module__ == errors.__name__:
        yield base
        for derived in base.__subclasses__():
            yield from error_classes(derived)


def commands_of(command: click.Command = commands, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path) or "compat-auth", command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands_of(inner, (*path, name))


def command_lines() -> Iterator[tuple[Path, str]]:
    for path in [*PAGES, ROOT / "README.md"]:
        for language, text in _BLOCK.findall(path.read_text(encoding="utf-8")):
            if language in ("sh", "ini"):
                for found in _COMMAND.finditer(text.replace("\\\n", " ")):
                    yield path.relative_to(ROOT), found["arguments"].strip()


def parse_command_line(arguments: list[str]) -> click.Context:
    """Return the context in which the command would run, its arguments checked; runs nothing."""
    command: click.Command = commands
    name = "compat-auth"
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
        found = command.get_command(click.Context(command), name)
        if found is None:
            raise click.UsageError(f"no such command: {name}")
        command = found
    return command.make_context(name, arguments)


def wrong_with_setting(name: str, description: str) -> Iterator[str]:
    entry = page("reference/settings.md").partition(f"```{{confval}} {name}\n")[2].partition("\n```")[0]
    variable = f"COMPAT_AUTH_{name.upper().replace('.', '__')}"
    if not description.endswith((".", "…")):
        yield f"{name}: its description is no sentence"
    if description not in entry:
        yield f"{name}: its description is not in the reference"
    in_tables = (
        "do_as.",
        "require.",
        "oidc.issuers.",
        "airflow_task.rules.",
        "client_certificate.accounts.",
        "workloads.",
    )
    if variable not in entry and not name.startswith(in_tables):
        yield f"{name}: {variable} is not in the reference"
    for field in (":type: ", ":default: `"):
        if field not in entry:
            yield f"{name}: {field} is not in the reference"


def test_every_setting_is_in_the_reference_with_a_description() -> None:
    names = list(settings_of())

    wrong = [problem for name, description in names for problem in wrong_with_setting(name, description)]

    assert len(names) > 100
    assert wrong == []


def wrong_with_error(error: type[errors.CompatAuthError]) -> Iterator[str]:
    rows = [line for line in page("reference/errors.md").splitlines() if f".{error.__name__}`" in line and "|" in line]
    who_acts, *numbers = [cell.strip() for cell in rows[0].split("|")][2:5] if rows else ("", "", "")
    if numbers != [str(error.status), str(error.exit_code)]:
        yield f"{error.__name__}: the reference has other numbers, or no row"
    if not who_acts and not error.__subclasses__():
        yield f"{error.__name__}: the reference does not say who acts"
    own = error.__dict__["__doc__"]
    if own is None or (own == errors.CompatAuthError.__doc__ and error is not errors.CompatAuthError):
        yield f"{error.__name__}: has no description of its own"


def test_every_error_is_in_the_reference_with_a_description() -> None:
    classes = list(error_classes())

    wrong = [problem for error in classes for problem in wrong_with_error(error)]

    assert len(classes) > 10
    assert wrong == []


def test_the_drawn_tree_has_every_error_with_its_status_and_exit_code() -> None:
    tree = (errors.__doc__ or "").splitlines()

    wrong: list[str] = []
    for error in error_classes():
        line = next((line for line in tree if re.search(rf"\b{error.__name__}\b", line)), None)
        drawn_status, drawn_exit = (re.search(pattern, line or "") for pattern in (r" ([45]\d\d)\b", r"exit (\d+)"))
        is_as_drawn = (drawn_status is None or int(drawn_status[1]) == error.status) and (
            drawn_exit is None or int(drawn_exit[1]) == error.exit_code
        )
        if line is None or not is_as_drawn:
            wrong.append(f"{error.__name__}: {line}")
    assert wrong == []


def test_every_command_and_option_has_a_description() -> None:
    found = dict(commands_of())

    silent = [name for name, command in found.items() if not (command.help or "").strip()]
    silent += [
        f"{name} {option.name}"
        for name, command in found.items()
        for option in command.params
        if isinstance(option, click.Option) and not (option.help or "").strip()
    ]

    assert len(found) > 20
    assert silent == []


def test_the_reference_shows_the_whole_tree_of_commands() -> None:
    text = page("reference/commands.md")

    assert ".. click:: compat_auth.cli:commands\n" in text
    assert ":nested: full" in text


def test_the_reference_has_exactly_the_pages_that_the_gateway_answers() -> None:
    settings = parse_settings(UPSTREAM, origin="test")

    answered = {path.decode() for path in Gateway(settings)._gate._pages}  # pyright: ignore[reportPrivateUsage]  # what it answers, not what it says

    documented = re.findall(r"^\| `(/[^`]+)` \|", page("reference/http.md"), re.MULTILINE)
    assert sorted(documented) == sorted(answered)


def wrong_with_configuration(text: str) -> str:
    try:
        content = tomllib.loads(text)
        settings = parse_settings(content, origin="docs")
    except (errors.CompatAuthError, ValueError) as error:
        return str(error)
    return ", ".join(set(content) - settings.model_fields_set)


def test_every_configuration_is_one_that_would_be_accepted() -> None:
    shown = list(blocks("toml"))

    wrong = {where: problem for where, text in shown if (problem := wrong_with_configuration(text))}

    assert len(shown) > 20
    assert wrong == {}


def wrong_with_command_line(line: str) -> str:
    try:
        parsed = parse_command_line(shlex.split(line))
    except (click.ClickException, ValueError) as error:
        return str(error)
    return "names no command" if isinstance(parsed.command, click.Group) else ""


def test_every_command_line_names_a_command_and_its_options() -> None:
    lines = list(command_lines())

    wrong = {f"{path}: {line}": problem for path, line in lines if (problem := wrong_with_command_line(line))}

    assert len(lines) > 50
    assert wrong == {}


@pytest.mark.parametrize("line", ["serv", "serve --threads 3", "users add --file x", "keys jwks --trust x"])
def test_a_command_line_that_does_not_exist_would_be_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse_command_line(shlex.split(line))


def test_the_two_commands_of_the_readme_are_on_the_first_page() -> None:
    readme = _BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))

    first_two = [text.splitlines()[0] for language, text in readme if language == "sh"][:2]

    first_page = page("index.md")
    assert len(first_two) == 2
    assert [command for command in first_two if command not in first_page] == []


def test_no_page_names_a_backend_or_directory_that_is_not_there() -> None:
    known = {"acme_auth.ticket", "team_key.TeamKeyBackend", *installed_backends(), *AIRFLOW_NAMES}
    chains = [
        (path.relative_to(DOCS), chain)
        for path in PAGES
        for chain in re.findall(r"^auth_backends = (\[.*\])$", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]

    unknown = [
        f"{path}: {name}" for path, chain in chains for name in tomllib.loads(f"x = {chain}")["x"] if name not in known
    ]

    assert chains != []
    assert unknown == []


def test_the_flask_example_guards_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(context, "SYSTEM_LOG", str(tmp_path / "no system log"))
    add_alice = ["users", "add", "alice", "--file", "users.htpasswd", "--password-stdin"]
    assert CliRunner().invoke(commands, add_alice, input="secret\n").exit_code == 0
    app = cast("Flask", runpy.run_path(str(EXAMPLES / "flask_app.py"))["app"])

    client = app.test_client()
    answers = [client.get("/"), client.get("/reports"), client.get("/reports", auth=("alice", "secret"))]

    assert [answer.status_code for answer in answers] == [200, 401, 200]
    assert answers[1].headers["WWW-Authenticate"] == 'Basic realm="Reports", charset="UTF-8"'
    assert answers[2].json == {"reader": "alice"}


def test_the_example_of_a_backend_accepts_its_own_key_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    written = _BLOCK.findall((DOCS / "how-to" / "write-a-backend.md").read_text(encoding="utf-8"))
    shown = next(text for language, text in written if language == "toml")
    settings = parse_settings({**tomllib.loads(shown), "auth_backends": ["team_key.TeamKeyBackend"]}, origin="docs")
    (backend,) = load_chain(settings)

    tokens = ("team-0123456789abcdef", "team-other", "eyJ.of.airflow")
    outcomes = [backend.authenticate(Bearer(token)) for token in tokens]

    assert [type(outcome) for outcome in outcomes] == [Accept, Reject, Skip]


def test_the_example_of_an_airflow_2_module_runs_in_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    from_page = parse_settings({"auth_backends": ["acme_auth.ticket"]}, origin="docs")
    (backend,) = load_chain(from_page)
    app = Flask("docs")
    backend.init_app(app)

    def view() -> str:
        return "in"

    guarded = backend.requires_authentication(view)
    with app.test_request_context(headers={"Acme-Ticket": "ticket-of-alice"}):
        with_ticket = app.make_response(guarded())
    with app.test_request_context():
        without = app.make_response(guarded())

    assert (with_ticket.status_code, without.status_code) == (200, 401)


def test_a_sequence_diagram_shows_every_line_and_escapes_it() -> None:
    svg = to_svg("participants: A | B\nA -> B: <ask>\nnote B: think\nB --> A: say", "A & B")

    assert "<title>A &amp; B</title>" in svg
    assert [text for text in ("&lt;ask&gt;</text>", "think</text>", "say</text>") if text not in svg] == []


@pytest.mark.parametrize("source", ["A -> B: x", "participants: A\nA -> B: x", "participants: A\nwhat is this"])
def test_a_sequence_diagram_that_makes_no_sense_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"^sequence: "):
        to_svg(source, "title")
