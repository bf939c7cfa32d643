"""Sends the corpora to a server with echo.py behind it and prints a verdict for each case.

    python tests/corpora/run.py --base-url http://127.0.0.1:8088 --user alice:secret --other bob:other-secret

It connects to the host of --base-url, and to that of --echo-url where one is given, and to no other. Exit code: 0, or 1 where a
request was let through, made a server error or hung (with --strict: or passed with two readings), or 2. Standard library only.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from corpora.cases import cases  # found by the line above, wherever this is started
from corpora.echo import ARRIVED  # the same
from corpora.judge import (  # the same
    AMBIGUOUS,
    FAILURES,
    LET_THROUGH,
    PASSED,
    VERDICTS,
    Arrived,
    Request,
    Site,
    Verdict,
    judge,
    leads_elsewhere,
)
from corpora.requests_of import SENT, Settings, baseline, requests_of  # the same
from corpora.wire import Client, Exchange  # the same

_HIDDEN_NEXT = re.compile(rb'<input[^>]*name="next"[^>]*value="([^"]*)"')


class Run:
    """One server under the corpora.

    Args:
        client: Of the server.
        settings: How it is asked.
        site: What is known of it.
        arrived: Returns what has arrived at the upstream since the last look.
    """

    def __init__(
        self, client: Client, settings: Settings, site: Site, arrived: Callable[[], Sequence[Arrived]]
    ) -> None:
        self._client, self._settings, self._site, self._arrived = client, settings, site, arrived

    def verdicts(self, names: Sequence[str]) -> Iterator[Verdict]:
        """Yield a verdict for each request of the corpora.

        Raises:
            RuntimeError: A plain request with the credential does not pass: nothing could be learned.
        """
        self._arrived()
        plain = self._send(baseline(self._settings))
        if plain.verdict != PASSED and "jwt" not in names:
            raise RuntimeError(
                f"a plain request is {plain.verdict} ({plain.detail}); check --user, --path and the echo"
            )
        for name in names:
            for request in requests_of(name, self._settings):
                yield self._send(request)

    def _send(self, request: Request) -> Verdict:
        exchange = self._client.send(request.raw)
        verdict = judge(request, exchange, self._arrived(), self._site)
        return self._page_verdict(verdict, exchange) if request.corpus == "redirects" else verdict

    def _page_verdict(self, verdict: Verdict, exchange: Exchange) -> Verdict:
        """Judge the target that a login page keeps in its form, too."""
        (case,) = (case for case in cases("redirects") if case["id"] == verdict.id)
        for answer in exchange.answers:
            for found in _HIDDEN_NEXT.findall(answer.body):
                kept = html.unescape(found.decode())
                if leads_elsewhere(kept, self._site.base_url):
                    return replace(verdict, verdict=LET_THROUGH, detail=f"the form leads to {kept!a}")
                if case["leads"] == "elsewhere" and kept == case["next"]:
                    return replace(verdict, verdict=AMBIGUOUS, detail=f"the form keeps {kept!a}")
                return replace(verdict, detail=f"the form leads to {kept!a}")
        return verdict


def summary(verdicts: Sequence[Verdict]) -> dict[str, dict[str, int]]:
    """Return how many cases of each corpus had each verdict."""
    counted = Counter((verdict.corpus, verdict.verdict) for verdict in verdicts)
    names = dict.fromkeys(verdict.corpus for verdict in verdicts)
    return {name: {kind: counted[name, kind] for kind in VERDICTS} for name in names}


def _basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True, help="of the server, such as http://127.0.0.1:8088")
    parser.add_argument(
        "--corpus",
        action="append",
        choices=SENT,
        help="this one; may be repeated (default: those that need no more settings)",
    )
    parser.add_argument("--user", default="alice:secret", help="name and password of the user (default: %(default)s)")
    parser.add_argument("--other", default="bob:other-secret", help="of another user (default: %(default)s)")
    parser.add_argument("--credential", help="Authorization value instead of --user's password")
    parser.add_argument("--who", help='whom the upstream should believe (default: the user); "": do not judge that')
    parser.add_argument(
        "--believes", action="append", help="header by which the upstream knows the caller (default: authorization)"
    )
    parser.add_argument("--host", help="value of the Host header (default: the host of the URL)")
    parser.add_argument("--path", default="/api/v2/x", help="path that takes the credential (default: %(default)s)")
    parser.add_argument("--login", default="", help="page that takes ?next=, for redirects")
    parser.add_argument("--issuer", default="us", help="of the tokens of jwt (default: %(default)s)")
    parser.add_argument("--audience", default="api", help="of the tokens of jwt (default: %(default)s)")
    parser.add_argument(
        "--upstream-judges", action="store_true", help="a token that arrives unchanged is for the upstream to judge"
    )
    parser.add_argument("--column", default="basic", help="of legacy (default: %(default)s)")
    parser.add_argument("--legacy-path", default="/api/v1/pools", help="for legacy (default: %(default)s)")
    parser.add_argument("--echo-url", help="of echo.py (default: asked through the server)")
    parser.add_argument("--timeout-s", type=float, default=5.0, help="until a server hangs (default: %(default)s)")
    parser.add_argument("--insecure", action="store_true", help="do not check the server's certificate")
    parser.add_argument("--strict", action="store_true", help="fail where something with two readings passed, too")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args(arguments)


def make_run(options: argparse.Namespace) -> Run:
    """Return the run that the arguments ask for."""
    client = Client(options.base_url, timeout_s=options.timeout_s, verify=not options.insecure)
    user = options.user.partition(":")[0] if options.who is None else options.who
    settings = Settings(
        host=options.host or client.name,
        credential=options.credential or _basic(options.user),
        other=_basic(options.other),
        user=user,
        path=options.path,
        login=options.login,
        issuer=options.issuer,
        audience=options.audience,
        has_judging_upstream=options.upstream_judges,
        column=options.column,
        legacy_path=options.legacy_path,
    )
    echo = Client(options.echo_url) if options.echo_url else client
    folder = options.path.rpartition("/")[0]

    def arrived() -> Sequence[Arrived]:
        headers = [("Authorization", settings.credential)]
        found: list[Arrived] = echo.ask_json(folder + ARRIVED, settings.host, headers)
        return found

    parts = urlsplit(options.base_url)
    # The Host header, not the address, is what a Location of the same site names.
    site = Site(f"{parts.scheme}://{settings.host}", tuple(options.believes or ("authorization",)))
    return Run(client, settings, site, arrived)


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    options = parse(arguments)
    names = options.corpus or ["framing", "headers", "paths", *(["redirects"] if options.login else [])]
    verdicts: list[Verdict] = []
    try:
        for verdict in make_run(options).verdicts(names):
            verdicts.append(verdict)
            if not options.json:
                sys.stdout.write(f"{verdict.verdict:<13}{verdict.corpus}/{verdict.id}: {verdict.detail}\n")
    except (OSError, RuntimeError, ValueError) as failure:
        sys.stderr.write(f"{options.base_url}: {failure}\n")
        return 2
    if options.json:
        document = {
            "base_url": options.base_url,
            "summary": summary(verdicts),
            "verdicts": [asdict(one) for one in verdicts],
        }
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        for name, counts in summary(verdicts).items():
            sys.stdout.write(f"{name}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()) + "\n")
    bad = (*FAILURES, AMBIGUOUS) if options.strict else FAILURES
    return 1 if any(verdict.verdict in bad for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
