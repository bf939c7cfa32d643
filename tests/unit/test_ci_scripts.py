"""The scripts in `.ci` tell what they cannot know from what is fine."""

from __future__ import annotations

import importlib.util
import io
import re
import tarfile
from email.message import Message
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

CI = Path(__file__).parents[2] / ".ci"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"ci_{name}", CI / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


audit, licences, release = load("audit"), load("licences"), load("release")


def package(name: str, *headers: tuple[str, str]) -> Message:
    metadata = Message()
    for key, value in [("Name", name), ("Version", "1"), *headers]:
        metadata[key] = value
    return metadata


@pytest.mark.parametrize(
    "expression",
    ["MIT", "Apache-2.0 AND MIT", "Apache-2.0 OR GPL-3.0-only", "GPL-3.0-only OR MIT", "(MIT OR Apache-2.0)"],
)
def test_a_licence_that_can_be_met_is_allowed(expression: str) -> None:
    allowed = licences.is_allowed(expression)

    assert allowed is True


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "LGPL-3.0-only",
        "Proprietary",
        "MIT; see LICENSE",
        "AGPL-3.0-or-later",
    ],
)
def test_any_other_licence_is_not_allowed(expression: str) -> None:
    allowed = licences.is_allowed(expression)

    assert allowed is False


def test_several_classifiers_must_all_be_allowed() -> None:
    both = package(
        "docs",
        ("Classifier", "License :: OSI Approved :: MIT License"),
        ("Classifier", "License :: OSI Approved :: GPL"),
    )

    faults = licences.find_faults([both])

    assert faults == ["docs 1: MIT AND GPL"]


def test_a_decision_holds_for_the_licence_that_it_was_made_about() -> None:
    decided = package("psycopg", ("License-Expression", "LGPL-3.0-only"))
    changed = package("psycopg", ("License-Expression", "AGPL-3.0-only"))

    faults = licences.find_faults([decided, changed])

    assert faults == ["psycopg 1: AGPL-3.0-only"]


def test_a_package_without_a_licence_is_a_fault() -> None:
    faults = licences.find_faults([package("silent")])

    assert faults == ["silent 1: no licence in its metadata"]


def test_a_package_that_was_skipped_is_not_called_safe() -> None:
    report = {"dependencies": [{"name": "a", "skip_reason": "not found"}, {"name": "b", "version": "1", "vulns": []}]}

    answer = audit.judge(report)

    assert answer == ([], ["a"])


def test_a_vulnerability_is_named_with_its_remedy() -> None:
    found = {"id": "GHSA-1", "fix_versions": ["1.1", "2.0"]}
    report = {"dependencies": [{"name": "b", "version": "1", "vulns": [found]}]}

    answer = audit.judge(report)

    assert answer == (["b 1: GHSA-1, fixed in 1.1, 2.0"], [])


@pytest.mark.parametrize(
    ("vulnerable", "unknown", "required", "status"),
    [
        pytest.param([], [], True, 0, id="safe"),
        pytest.param([], ["a"], False, 0, id="unknown-on-a-developers-machine"),
        pytest.param([], ["a"], True, 69, id="unknown-where-it-is-required"),
        pytest.param(["b"], [], False, 1, id="vulnerable"),
        pytest.param(["b"], ["a"], False, 1, id="vulnerable-and-unknown"),
    ],
)
def test_the_audit_ends_with(vulnerable: list[str], unknown: list[str], required: bool, status: int) -> None:
    code = audit.exit_status(vulnerable, unknown, required=required)

    assert code == status


@pytest.mark.parametrize(
    ("tags", "changelog", "fragments", "reason"),
    [
        pytest.param([], "", ["+a.fixed.md"], "", id="no-tag"),
        pytest.param(["v0.1.0"], "\n## 0.1.0 (2026-11-30)\n", [], "", id="all-agree"),
        pytest.param(["v0.2.0"], "\n## 0.1.0 (2026-11-30)\n", [], "HEAD has the tag v0.2.0", id="another-tag"),
        pytest.param(["v0.1.0", "v0.1.1"], "\n## 0.1.0 (2026-11-30)\n", [], "HEAD has the tag", id="two-tags"),
        pytest.param(["v0.1.0"], "\n## 0.1.0.1 (x)\n", [], "no section 0.1.0", id="no-section"),
        pytest.param(
            ["v0.1.0"], "\n## 0.1.0 (x)\n", ["+a.fixed.md"], "not in the changelog: +a", id="a-fragment-is-left"
        ),
        pytest.param(["nightly"], "", [], "", id="a-tag-that-is-no-version"),
    ],
)
def test_a_release_names_one_version(tags: list[str], changelog: str, fragments: list[str], reason: str) -> None:
    found = release.find_disagreement("0.1.0", tags, changelog, fragments)

    assert found.startswith(reason) or reason in found
    assert bool(found) == bool(reason)


def test_two_sdists_of_the_same_files_are_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"]
    for number, path in enumerate(paths):
        with tarfile.open(path, "w:gz") as archive:
            for name in ("p/b.txt", "p/a.sh")[:: 1 - 2 * number]:
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.uname = 2, 1000 + number, f"user{number}"
                member.mode = 0o775 - number if name.endswith(".sh") else 0o664 - number
                archive.addfile(member, io.BytesIO(b"x\n"))

    for path in paths:
        release.pack_again(path, 1_700_000_000)

    first, second = (path.read_bytes() for path in paths)
    assert first == second
    with tarfile.open(paths[0]) as archive:
        assert {(member.name, member.mode, member.mtime) for member in archive} == {
            ("p/a.sh", 0o755, 1_700_000_000),
            ("p/b.txt", 0o644, 1_700_000_000),
        }


def test_every_action_is_pinned_by_the_hash_of_a_commit() -> None:
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

    used = [line for path in workflows for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]

    assert len(used) > 10
    assert [line for line in used if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # \S+", line)] == []


def test_a_release_has_provenance_and_signatures() -> None:
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")

    wanted = ("attest-build-provenance@", "id-token: write", "attestations: true", "dist/*.whl", "dist/*.tar.gz")

    assert [part for part in wanted if part not in release] == []
    # Trusted publishing has no stored token.
    assert "secrets." not in release
