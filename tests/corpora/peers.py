"""Runs the corpora against compat_auth and other programs and prints one Markdown table.

    python tests/corpora/peers.py [--only NAME]... [--write] [--json FILE]

--write replaces the tables in docs/explanation/corpora.md. Needs the peers of tests/support/peers/install, also `flask-httpauth`, and
the Debian packages libapache2-mod-auth-gssapi and libapache2-mod-auth-openidc.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _pytest.outcomes import Failed  # what a missing peer raises

sys.path.insert(0, str(Path(__file__).parents[1]))

from corpora.echo import running_echo  # found by the line above, wherever this is started
from corpora.judge import AMBIGUOUS, FAILURES, LET_THROUGH, PASSED, REFUSED, Verdict  # the same
from corpora.page import write_between  # the same
from corpora.path_table import path_table  # the same
from corpora.peer_servers import STARTS  # the same
from corpora.run import make_run, parse, summary  # the same

Results = dict[str, tuple[str, list[Verdict]]]
"""Version and verdicts by name of the server."""
COLUMNS = ("framing", "headers", "paths", "jwt", "redirects")
_NUMBER = re.compile(r"-?\d+$")


def measure(name: str) -> tuple[str, list[Verdict]]:
    """Return the version of a server and its verdicts."""
    with (
        tempfile.TemporaryDirectory(prefix="corpora-", ignore_cleanup_errors=True) as folder,
        running_echo() as (_, echo_url),
    ):
        place = Path(folder) / "peer"
        place.mkdir()
        with STARTS[name](place, echo_url) as peer:
            arguments = ["--base-url", peer.url, "--echo-url", echo_url, "--timeout-s", "15", *peer.arguments]
            return peer.version, list(make_run(parse(arguments)).verdicts(peer.corpora))


def row(name: str, version: str, verdicts: Sequence[Verdict]) -> str:
    """Return the row of a server."""
    counts = summary(verdicts)
    cells = [_cell(counts[column]) if column in counts else "" for column in COLUMNS]
    return f"| {name} {version} | " + " | ".join(cells) + " |"


def _cell(counts: Mapping[str, int]) -> str:
    bad = " / ".join(str(counts[kind]) for kind in (AMBIGUOUS, *FAILURES))
    return f"{counts[REFUSED]} / {counts[PASSED]} / " + re.sub(r"[1-9]\d*", lambda found: f"**{found[0]}**", bad)


def findings(name: str, verdicts: Sequence[Verdict]) -> list[str]:
    """Return a line for each kind of case that got through: how many, and one of them."""
    bad = [verdict for verdict in verdicts if verdict.verdict in FAILURES]
    kinds = Counter((verdict.corpus, _kind(verdict), verdict.verdict) for verdict in bad)
    lines: list[str] = []
    for (corpus, kind, verdict), count in kinds.items():
        example = next(one for one in bad if (one.corpus, _kind(one), one.verdict) == (corpus, kind, verdict))
        lines.append(f"| {name} | {verdict} | {corpus} | {count} | `{example.id}` | {_cell_text(example.detail)} |")
    return lines


def _kind(verdict: Verdict) -> str:
    if verdict.corpus == "headers":
        return "-".join(verdict.id.split("-")[: 2 if verdict.id.startswith(("hop", "two", "odd")) else 1])
    if verdict.corpus == "paths":
        return _NUMBER.sub("", verdict.id)
    return verdict.id if verdict.corpus == "jwt" else ""


def _cell_text(text: str) -> str:
    shown = text if len(text) <= 90 else f"{text[:87]}..."
    return "`" + shown.replace("|", "¦").replace("`", "'") + "`" if shown else ""


def page_of(results: Results, when: str) -> str:
    """Return what stands between the marks of the page."""
    rows = [row(name, *result) for name, result in results.items()]
    lines = [line for name, (_, verdicts) in results.items() for line in findings(name, verdicts)]
    return "\n".join(
        [
            f"Measured on {when}. Each cell: refused / passed / ambiguous / let through / server error / hang.",
            "",
            "| server | " + " | ".join(COLUMNS) + " |",
            "|---" * (len(COLUMNS) + 1) + "|",
            *rows,
            "",
            "The cases that were let through, failed or hung, by kind, with one of each:",
            "",
            "| server | result | corpus | cases | for example | detail |",
            "|---|---|---|---|---|---|",
            *lines,
        ]
    )


def _load(file: Path | None) -> Results:
    """Return what earlier runs have written into the file."""
    if file is None or not file.is_file():
        return {}
    known: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return {name: (one["version"], [Verdict(**verdict) for verdict in one["verdicts"]]) for name, one in known.items()}


def _save(file: Path, results: Results) -> None:
    every = {
        name: {"version": version, "verdicts": [asdict(one) for one in found]}
        for name, (version, found) in results.items()
    }
    file.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(STARTS), help="this server; may be repeated")
    parser.add_argument("--write", action="store_true", help="replace the tables in the documentation")
    parser.add_argument("--json", type=Path, help="keep every verdict in this file, beside those of earlier runs")
    options = parser.parse_args(arguments)
    results = _load(options.json)
    for name in options.only or STARTS:
        began = time.monotonic()
        try:
            results[name] = measure(name)
        except (RuntimeError, AssertionError, Failed) as failure:
            sys.stderr.write(f"{name}: {str(failure)[:500]}\n")
            continue
        sys.stderr.write(f"{name}: {len(results[name][1])} cases in {time.monotonic() - began:.0f} s\n")
        if options.json:
            _save(options.json, results)
    ordered = {name: results[name] for name in STARTS if name in results}
    text, paths = page_of(ordered, time.strftime("%Y-%m-%d", time.gmtime())), path_table(ordered)
    sys.stdout.write(f"{text}\n\n{paths}\n")
    if options.write:
        write_between(text, "corpora")
        write_between(paths, "paths")
    ours = [verdict for name, (_, found) in ordered.items() if "compat_auth" in name for verdict in found]
    return 1 if any(verdict.verdict == LET_THROUGH for verdict in ours) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
