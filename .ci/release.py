"""Makes a release in `dist/` from the commit HEAD and tries it; publishes nothing.

Builds sdist and wheel twice, in two folders, and compares every byte; the documentation in the wheel is built once.
Checks the metadata with twine; checks that version, changelog and tag agree; installs the wheel into an empty environment with the locked versions, runs its demo and asks
what the demo says to ask; writes an SBOM (CycloneDX) of that environment and the SHA-256 sums beside the wheel.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO_S = 120
TAG_PREFIX = "v"
# Where `compat-auth docs` looks for its pages.
PAGES = Path("compat_auth", "cli", "manual", "pages")


def say(text: str) -> None:
    """Print a line at once."""
    print(f"release: {text}", flush=True)


def fail(text: str) -> None:
    """End with 1 and the reason."""
    sys.exit(f"release: FAILED: {text}")


def run(*command: str | Path, folder: Path = ROOT, **environment: str) -> str:
    """Return what a command prints; end with its messages where it fails."""
    done = subprocess.run(  # noqa: S603  # our own words
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        fail(f"{shlex.join(str(word) for word in command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def pack_again(sdist: Path, epoch: int) -> None:
    """Rewrite an sdist so that it depends on its contents only: setuptools leaves times and owners of this machine."""
    with tarfile.open(sdist) as archive:
        members = sorted(archive.getmembers(), key=lambda member: member.name)
        contents = {member.name: file.read() for member in members if (file := archive.extractfile(member))}
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            fresh = tarfile.TarInfo(member.name)
            fresh.type, fresh.size, fresh.mtime = member.type, member.size, epoch
            fresh.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            archive.addfile(fresh, io.BytesIO(contents[member.name]) if member.name in contents else None)
    with sdist.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as packed:
        packed.write(plain.getvalue())


def build(folder: Path, epoch: int, pages: Path) -> list[Path]:
    """Build the sdist of HEAD, and the wheel of the sdist; return both.

    Args:
        folder: An empty folder.
        epoch: The time that the files get, in seconds.
        pages: The built documentation; it is built here if it is not there yet.
    """
    source, dist = folder / "source", folder / "dist"
    source.mkdir(parents=True)
    # What is committed, nothing that lies about in the checkout.
    with tarfile.open(fileobj=io.BytesIO(_archive_of_head())) as archive:
        archive.extractall(source, filter="tar")
    build_one: tuple[str | Path, ...] = (sys.executable, "-m", "build", "--no-isolation", "--outdir", dist)
    run(*build_one, "--sdist", source, SOURCE_DATE_EPOCH=str(epoch))
    [sdist] = dist.glob("*.tar.gz")
    pack_again(sdist, epoch)
    unpacked = folder / "unpacked"
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    [inside] = unpacked.iterdir()
    if not pages.exists():
        build_pages(inside, pages)
    # Once for both wheels: it takes a minute.
    shutil.copytree(pages, inside / PAGES)
    run(*build_one, "--wheel", inside, SOURCE_DATE_EPOCH=str(epoch))
    [wheel] = dist.glob("*.whl")
    return [sdist, wheel]


def build_pages(source: Path, pages: Path) -> None:
    """Build the documentation of a source tree into a folder, for `compat-auth docs` of the wheel."""
    # The modules of this tree come before those of the checkout; a fixed seed gives two builds the same order of sets.
    paths = os.pathsep.join((str(source), str(source / "backends")))
    sphinx: list[str | Path] = [sys.executable, "-m", "sphinx", "-nWq", "--keep-going", "-b", "html"]
    build_one = (*sphinx, "-d", source / "doctrees", source / "docs", pages)
    run(*build_one, folder=source, PYTHONPATH=paths, PYTHONHASHSEED="0")
    shutil.rmtree(source / "doctrees")
    for left in (".buildinfo", "objects.inv"):
        (pages / left).unlink(missing_ok=True)
    # A shown difference of two files names them with this machine's folder.
    for page in pages.rglob("*.html"):
        page.write_text(page.read_text("utf-8").replace(f"{source}/", ""), "utf-8")


def _archive_of_head() -> bytes:
    done = subprocess.run(["git", "archive", "--format=tar", "HEAD"], cwd=ROOT, capture_output=True, check=True)  # noqa: S607
    return done.stdout


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find_disagreement(version: str, tags: list[str], changelog: str, fragments: list[str]) -> str:
    """Return why version, tags of HEAD, changelog and fragments do not fit together; "" where they do.

    Only a tagged commit is a release: without a tag, fragments may wait and the changelog may lack the version.
    """
    released = [tag for tag in tags if re.match(rf"{TAG_PREFIX}\d", tag)]
    if not released:
        return ""
    if released != [f"{TAG_PREFIX}{version}"]:
        return f"HEAD has the tag {', '.join(released)}, but compat_auth.__version__ is {version}"
    if f"\n## {version} (" not in changelog:
        return f"CHANGELOG.md has no section {version}; run: towncrier build"
    return f"not in the changelog: {', '.join(fragments)}; run: towncrier build" if fragments else ""


def try_wheel(wheel: Path, folder: Path, version: str) -> Path:
    """Install the wheel into an empty environment, run its demo and ask; return the environment's Python."""
    empty, locked = folder / "empty", folder / "locked.txt"
    export: list[str | Path] = ["--locked", "--no-dev", "--no-emit-project", "--no-hashes", "--output-file", locked]
    run("uv", "export", "--quiet", *export)
    run("uv", "venv", "--quiet", "--python", sys.executable, empty)
    python = empty / "bin" / "python"
    run("uv", "pip", "install", "--quiet", "--python", python, "--constraint", locked, wheel, folder=folder)
    command = empty / "bin" / "compat-auth"
    found = run(command, "--version", folder=folder)
    if version not in found.split():
        fail(f"the installed command says {found.strip()!r}, not {version}")
    if (revision := run("git", "rev-parse", "HEAD").strip()[:12]) not in found:
        fail(f"the installed command says {found.strip()!r}, without its revision {revision}")
    pages = run(python, "-c", "from compat_auth.cli.manual.docs import find_pages; print(find_pages())", folder=folder)
    if "site-packages" not in pages:
        fail(f"the wheel has no built documentation: {pages.strip()}")
    with running_demo(command, folder) as lines:
        for line in lines:
            status = run("sh", "-c", f"{line} -sS -o /dev/null -w '%{{http_code}}'", folder=folder)
            say(f"{status}: {line}")
            if status != "200":
                fail(f"this line of the demo was answered with {status}")
    return python


@contextlib.contextmanager
def running_demo(command: Path, folder: Path) -> Iterator[list[str]]:
    """Run the demo in a bare environment; yield the `curl` lines that it prints."""
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    demo = subprocess.Popen(  # noqa: S603  # our own words
        [command, "demo"], cwd=folder, env=bare, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert demo.stdout is not None  # noqa: S101  # it is a pipe
    # A demo that hangs before its first line must not hang the release.
    watch = threading.Timer(DEMO_S, demo.kill)
    watch.start()
    printed: list[str] = []
    try:
        for line in demo.stdout:
            printed.append(line)
            if line.startswith("curl "):
                break
        else:
            fail(f"the demo printed no curl line:\n{''.join(printed)}")
        yield [line.strip() for line in printed if line.startswith("curl ")]
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=30)
        watch.cancel()


def main() -> None:
    """Build, compare, check, try, describe; leave the result in `dist/`."""
    os.umask(0o022)
    if run("git", "status", "--porcelain").strip():
        say("the checkout has changes that are not committed: they are not in this build")
    epoch = int(run("git", "log", "-1", "--format=%ct", "HEAD"))
    # Read, not imported: the checkout is not installed here.
    [version] = re.findall(r'^__version__ = "(.+)"$', (ROOT / "compat_auth" / "__init__.py").read_text(), re.MULTILINE)
    fragments = [path.name for path in (ROOT / "changes").glob("*.md") if path.name != "README.md"]
    tags = run("git", "tag", "--points-at", "HEAD").split()
    if reason := find_disagreement(version, tags, (ROOT / "CHANGELOG.md").read_text(), fragments):
        fail(reason)
    say(f"{version}, {'tag ' + ' '.join(tags) if tags else 'no tag'}, SOURCE_DATE_EPOCH={epoch}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pages = folder / "pages"
        first, second = build(folder / "one", epoch, pages), build(folder / "two", epoch, pages)
        for one, two in zip(first, second, strict=True):
            if digest_of(one) != digest_of(two):
                fail(f"two builds of {one.name} differ")
            say(f"twice the same: {digest_of(one)}  {one.name}")
        run("twine", "check", "--strict", *first)
        python = try_wheel(first[1], folder, version)
        bom = folder / f"compat_auth-{version}.cdx.json"
        run("cyclonedx-py", "environment", "--output-reproducible", "--of", "JSON", "-o", bom, python)
        dist = ROOT / "dist"
        dist.mkdir(exist_ok=True)
        for old in dist.glob("compat_auth-*"):
            old.unlink()
        for made in (*first, bom):
            (dist / made.name).write_bytes(made.read_bytes())
        sums = "".join(f"{digest_of(made)}  {made.name}\n" for made in (*first, bom))
        (dist / "SHA256SUMS").write_text(sums)
    say(f"all held; in {dist}: {', '.join(sorted(path.name for path in dist.iterdir()))}")


if __name__ == "__main__":
    main()
