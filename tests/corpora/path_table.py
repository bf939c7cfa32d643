"""How the paths of the corpus arrive behind each server: a table by kind of path, and the paths that arrive changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from corpora.cases import cases
from corpora.judge import Verdict

Results = Mapping[str, tuple[str, Sequence[Verdict]]]


def path_table(results: Results) -> str:
    """Return both tables.

    Args:
        results: Version and verdicts by name of the server.
    """
    found = {
        name: {one.id: one.target for one in verdicts if one.corpus == "paths"}
        for name, (_, verdicts) in results.items()
    }
    found = {name: targets for name, targets in found.items() if targets}
    names = list(found)
    if not names:
        return ""
    groups: dict[str, list[str]] = defaultdict(list)
    two_readings = {case["id"] for case in cases("paths") if case["canonical"] is None}
    paths = {case["id"]: case["path"] for case in cases("paths") if case["id"] in found[names[0]]}
    for case in cases("paths"):
        if case["id"] in paths:
            groups[case["why"]].append(case["id"])
    lines = [
        "Each cell: refused or redirected / arrived as it was sent / arrived changed.",
        "",
        "| kind of path | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for why, ids in groups.items():
        lines.append(f"| {why} | " + " | ".join(_cell(found[name], ids, paths) for name in names) + " |")
    return "\n".join(
        [*lines, "", *_changed(found, {name: path for name, path in paths.items() if name in two_readings})]
    )


def _cell(arrived: Mapping[str, str], ids: Sequence[str], paths: Mapping[str, str]) -> str:
    refused = [name for name in ids if not arrived[name]]
    same = [name for name in ids if arrived[name] and arrived[name] == paths[name]]
    return f"{len(refused)} / {len(same)} / {len(ids) - len(refused) - len(same)}"


def _changed(found: Mapping[str, Mapping[str, str]], paths: Mapping[str, str]) -> list[str]:
    by_target: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, arrived in found.items():
        for case_id, target in arrived.items():
            if target and case_id in paths and target != paths[case_id]:
                by_target[case_id, target].append(name)
    rows = [
        f"| {_code(paths[case_id])} | {_code(target)} | {', '.join(names)} |"
        for (case_id, target), names in sorted(by_target.items(), key=lambda item: list(paths).index(item[0][0]))
        if len(paths[case_id]) < 100
    ]
    return [
        "Paths with more than one reading that arrived changed:",
        "",
        "| sent | arrived | behind |",
        "|---|---|---|",
        *rows,
    ]


def _code(text: str) -> str:
    return "`" + ascii(text)[1:-1].replace("\\\\", "\\").replace("|", "¦").replace("`", "'") + "`"
