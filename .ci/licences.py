"""Fails when a locked dependency has a licence that nobody has decided on: docs/decisions/ says why these are allowed.

Runs in an environment that holds what a user can install (all extras but `airflow`, which joins Airflow's own
environment), and reads the installed metadata: License-Expression (PEP 639), else classifiers, else the licence's text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from email.message import Message
from importlib.metadata import distributions

ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",  # file by file: we change none of their files
        "PSF-2.0",
        "Unlicense",
    }
)
# One package each: an extra that a user chooses, imported unchanged, never in our wheel.
DECIDED = {
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
    "python-ldap": "python-ldap",  # its own text, in the style of Python's
}
# What metadata says that knows no SPDX name.
_SPDX = {
    "apache software license": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
_TOOLS = frozenset({"compat-auth", "pip", "setuptools"})  # ourselves, and what makes the environment


def licence_of(metadata: Message) -> str:
    """Return an SPDX expression where the metadata allows one, else what it says; "" where it says nothing."""
    expression = metadata.get("License-Expression", "").strip()
    if expression:
        return expression
    text = metadata.get("License", "").strip().partition("\n")[0]
    named = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    known = [_SPDX.get(name.lower(), name) for name in named]
    # Several classifiers do not say whether one may choose: all of them must be allowed.
    return " AND ".join(known) if known else _SPDX.get(text.lower(), text)


def is_allowed(expression: str) -> bool:
    """Tell whether an SPDX expression can be met with allowed licences; unknown text cannot."""
    if not re.fullmatch(r"[\w.+() -]+", expression):
        return False
    # OR binds more loosely than AND (SPDX 2.3, annex D); nested parentheses have not come up, and are refused.
    plain = expression.strip()
    if plain.startswith("(") and plain.endswith(")"):
        plain = plain[1:-1]
    choices = re.split(r"\s+OR\s+", plain)
    return any(all(part.strip() in ALLOWED for part in re.split(r"\s+AND\s+", choice)) for choice in choices)


def find_faults(packages: Iterable[Message]) -> list[str]:
    """Return a line for each package without an allowed or decided licence."""
    faults: list[str] = []
    for metadata in packages:
        name = re.sub(r"[-_.]+", "-", str(metadata["Name"])).lower()
        licence = licence_of(metadata)
        text = metadata.get("License", "").strip()
        if name in _TOOLS or is_allowed(licence) or DECIDED.get(name) in {licence, text}:
            continue
        faults.append(f"{name} {metadata['Version']}: {licence or 'no licence in its metadata'}")
    return sorted(faults)


def main() -> int:
    """Print what is not allowed; return the exit status."""
    packages = [found.metadata for found in distributions()]
    faults = find_faults(packages)  # type: ignore[arg-type]  # typeshed: PackageMetadata is a Message at run time
    for fault in faults:
        print(f"licence not allowed: {fault}")
    if faults:
        print("Choose another package, or decide: ALLOWED and DECIDED in .ci/licences.py")
        return 1
    print(f"licences: {len(packages)} packages, all allowed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
