"""Fails when a locked version has a known vulnerability: pip-audit over uv.lock, with all extras.

pip-audit counts a package that the service does not know, as behind a mirror without that service, as "skipped" and
then reports no vulnerabilities. That says nothing: here it is an answer of its own. Where `AUDIT_REQUIRED` is set, as in the
hosted workflow, it fails; on a machine without the service it warns.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

EXIT_VULNERABLE = 1
EXIT_UNKNOWN = 69  # EX_UNAVAILABLE, sysexits.h


def judge(report: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return a line for each vulnerability, and the names of the packages that were not looked up."""
    vulnerable: list[str] = []
    unknown: list[str] = []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["name"])
        for found in package.get("vulns", []):
            fixed = ", ".join(found["fix_versions"]) or "no version"
            vulnerable.append(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
    return vulnerable, unknown


def exit_status(vulnerable: list[str], unknown: list[str], *, required: bool) -> int:
    """Return 1 for a vulnerability, 69 for no answer where one is required, else 0."""
    if vulnerable:
        return EXIT_VULNERABLE
    return EXIT_UNKNOWN if unknown and required else 0


def surroundings() -> dict[str, str]:
    """Return pip-audit's environment: it trusts who the machine trusts, as uv and pip do, not only certifi's list."""
    paths = ssl.get_default_verify_paths()
    trusted = paths.cafile or paths.capath
    return {**({"REQUESTS_CA_BUNDLE": trusted} if trusted else {}), **os.environ}


def main() -> int:
    """Ask, print and return the exit status."""
    required = bool(os.environ.get("AUDIT_REQUIRED"))
    with tempfile.TemporaryDirectory() as folder:
        locked = Path(folder) / "locked.txt"
        export = ["uv", "export", "--quiet", "--locked", "--all-extras", "--no-dev", "--no-emit-project"]
        subprocess.run([*export, "--output-file", str(locked)], check=True)  # noqa: S603  # our own words
        ask = ["pip-audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
        done = subprocess.run(  # noqa: S603  # our own words
            [*ask, "--requirement", str(locked)], capture_output=True, text=True, check=False, env=surroundings()
        )
    try:
        vulnerable, unknown = judge(json.loads(done.stdout))
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        vulnerable, unknown = [], [f"every package ({last[:300]})"]
    for line in vulnerable:
        print(f"vulnerable: {line}")
    if unknown:
        word = "FAILED" if required else "WARNING"
        print(
            f"{word}: not audited, the vulnerability service was not reached or does not know: "
            f"{', '.join(unknown[:5])}{f' and {len(unknown) - 5} more' if len(unknown) > 5 else ''}"
        )
    if not vulnerable and not unknown:
        print("audit: no known vulnerability in what uv.lock names")
    return exit_status(vulnerable, unknown, required=required)


if __name__ == "__main__":
    sys.exit(main())
