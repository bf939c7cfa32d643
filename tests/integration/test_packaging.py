"""What is built is what is installed: the contents of wheel and sdist, the metadata, the entry points."""

import configparser
import email.message
import email.parser
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PACKAGES = {"compat_auth": ROOT / "compat_auth", "compat_auth_backends": ROOT / "backends" / "compat_auth_backends"}
NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv*", ".tox", ".*_cache", ".hypothesis", "__pycache__", "build", "dist", "*.egg-info", "_build"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE)
    # Not isolated: the build tools of the test environment, no network.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel_names(wheel: Path) -> frozenset[str]:
    with zipfile.ZipFile(wheel) as archive:
        return frozenset(archive.namelist())


@pytest.fixture(scope="module")
def sdist_names(built: Path) -> frozenset[str]:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        return frozenset(name.partition("/")[2] for name in archive.getnames())


@pytest.fixture(scope="module")
def metadata(wheel: Path, wheel_names: frozenset[str]) -> email.message.Message:
    name = next(name for name in wheel_names if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        return email.parser.Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def fresh_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python in a new environment that has the wheel, and our dependencies by reference."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    # A path file names a folder only: an editable install of ours in that folder does not take effect.
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def modules_of(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.py"):
        yield str(path.relative_to(folder))


def entry_points() -> list[tuple[str, str]]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    section = config["options.entry_points"]
    return [
        (group, line.partition("=")[0].strip()) for group in section for line in section[group].strip().splitlines()
    ]


def test_the_wheel_holds_both_packages_and_nothing_else(wheel_names: frozenset[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel_names}

    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_every_module_and_says_that_it_is_typed(package: str, wheel_names: frozenset[str]) -> None:
    expected = {f"{package}/{module}" for module in modules_of(PACKAGES[package])} | {f"{package}/py.typed"}

    assert expected - wheel_names == set()


def test_the_wheel_holds_the_templates_of_the_pages(wheel_names: frozenset[str]) -> None:
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "compat_auth").rglob("*.html")}

    assert templates
    assert templates - wheel_names == set()


@pytest.mark.parametrize(
    "name",
    [
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "setup.cfg",
        "pyproject.toml",
        "tox.ini",
        "demo",
        "test",
        ".ci/environment.sh",
        ".ci/run",
        "tests/conftest.py",
        "tests/integration/test_packaging.py",
        "tests/support/peers/install",
        "tests/support/peers/requirements/airflow3.txt",
        "docs/decisions/0001-record-decisions.md",
    ],
)
def test_the_sdist_holds_what_it_takes_to_test_it(name: str, sdist_names: frozenset[str]) -> None:
    assert name in sdist_names


def test_the_sdist_holds_no_leftovers(sdist_names: frozenset[str]) -> None:
    leftovers = {name for name in sdist_names if "__pycache__" in name or name.endswith((".pyc", ".whl", ".db"))}

    assert leftovers == set()


def test_the_metadata_names_licence_and_pythons(metadata: email.message.Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_all("License-File") == ["LICENSE"]


def test_each_extra_brings_something(metadata: email.message.Message) -> None:
    required = metadata.get_all("Requires-Dist") or []
    brought = {
        extra
        for line in required
        for extra in metadata.get_all("Provides-Extra") or []
        if f'extra == "{extra}"' in str(Requirement(line).marker)
    }

    assert brought == set(metadata.get_all("Provides-Extra") or [])
    assert "postgresql" in brought


def test_each_requirement_has_a_floor_and_no_ceiling(metadata: email.message.Message) -> None:
    required = [Requirement(line) for line in metadata.get_all("Requires-Dist") or []]

    odd = [str(one) for one in required if [bound.operator for bound in one.specifier] != [">="]]

    assert required != []
    assert odd == []


# What an extra brings; without it, an entry point says so.
OF_AN_EXTRA = {"kerberos": "gssapi", "kinit": "gssapi", "ldap": "ldap", "compat_auth": "airflow"}


@pytest.mark.parametrize(("group", "name"), entry_points())
def test_an_entry_point_loads_from_the_installed_wheel(group: str, name: str, fresh_python: Path) -> None:
    program = (
        "import sys, compat_auth\n"
        "from importlib.metadata import distribution\n"
        "assert compat_auth.__file__.startswith(sys.prefix), compat_auth.__file__\n"
        "found = distribution('compat_auth').entry_points.select(group=sys.argv[1], name=sys.argv[2])\n"
        "[point] = found\n"
        "try:\n"
        "    assert point.load() is not None\n"
        "except ModuleNotFoundError as error:\n"
        "    assert error.name == sys.argv[3], error\n"
    )
    extra = OF_AN_EXTRA.get(name, "")

    # -I: neither the working directory nor PYTHONPATH may lend a module.
    done = subprocess.run(
        [fresh_python, "-I", "-c", program, group, name, extra], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_the_command_answers_with_the_version_in_the_metadata(
    fresh_python: Path, metadata: email.message.Message
) -> None:
    command = fresh_python.parent / "compat-auth"

    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert metadata["Version"] in done.stdout
