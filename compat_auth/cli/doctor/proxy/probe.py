"""Finds what gets through a front proxy, from the answers alone: the gateway says to nobody what it has received.

A header gets through if it changes the answer to `whoami` for a caller without a credential, or whom it names for one
with a credential. A path gets through if a caller without a credential gets anything except our refusal. So the
probe learns nothing that any client could not learn.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from compat_auth.cli.doctor.proxy.answers import (
    REFUSED_INPUT,
    Mark,
    Send,
    has_effect,
    is_content,
    is_like,
    is_ours,
    is_page,
    is_past_us,
    mark,
    names_canary,
    username_in,
)
from compat_auth.cli.doctor.proxy.attacks import (
    address_headers,
    forward_auth_questions,
    host_headers,
    identity_headers,
    path_attacks,
    spellings,
)
from compat_auth.cli.doctor.proxy.sending import Site, Stopped
from compat_auth.cli.doctor.result import Result
from compat_auth.net.http_call import HttpAnswer

_ID = "probe"
_AT_ONCE = 10
_OVERWRITE = 'let the proxy remove it, or overwrite it, in each request: nginx: proxy_set_header {name} "";'
Pairs = Sequence[tuple[str, str]]


@dataclass
class Probe:
    """One probe.

    Attributes:
        site: The site.
        prefix: Path of the gateway's own pages.
        path: A protected path of the upstream.
        credential: Headers of a caller with a credential; {}: only callers without one.
        more: More names of identity headers, such as that of `[remote_user]`.
        name: A user that nobody is.
    """

    site: Site
    prefix: str = "/compat-auth/"
    path: str = "/api/v2/dags"
    credential: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    more: Sequence[str] = ()
    name: str = field(default_factory=lambda: f"doctor-probe-{secrets.token_hex(4)}")

    def run(self) -> Iterator[Result]:
        """Yield what gets through, and a last result with the number of requests.

        Raises:
            BackendUnavailable: The site does not answer at all.
        """
        leaks = 0
        try:
            for result in self._run():
                leaks += result.status == "failure"
                yield result
        except Stopped as stop:
            yield Result(_ID, "failure", str(stop), self.site.url, "start the probe again when the site is idle")
            return
        if not leaks:
            yield Result.okay(_ID, f"{self.site.sent} requests, and nothing got through", self.site.url)

    def _run(self) -> Iterator[Result]:
        whoami = f"{self.site.root}{self.prefix}whoami"
        nobody = self.site.must_get(whoami)
        if fault := self._fault_of(nobody):
            yield fault
            return
        yield from self._headers(lambda headers: self.site.get(whoami, headers), mark(nobody), nobody.status)
        if self.credential:
            somebody = self.site.must_get(whoami, self.credential)
            if somebody.status == 200:
                yield from self._headers(self._beside_credential, mark(somebody), somebody.status)
            else:
                text = f"the credential gets {somebody.status} from whoami; headers beside a credential were not tried"
                yield Result.not_asked(_ID, text)
        yield from self._hosts(whoami)
        yield from self._paths()
        yield from self._forward_auth()

    def _beside_credential(self, headers: Mapping[str, str]) -> HttpAnswer | None:
        return self.site.get(f"{self.site.root}{self.prefix}whoami", {**self.credential, **headers})

    def _fault_of(self, nobody: HttpAnswer) -> Result | None:
        url, status = f"{self.site.url}{self.prefix}whoami", nobody.status
        if status == 200:
            text = f"a caller without a credential is {username_in(nobody)!r}: the proxy adds an identity, or a backend accepts everybody"
            step = (
                "let the proxy send an identity only for callers that it has authenticated; remove the backend default"
            )
            return Result(_ID, "failure", text, url, step)
        if 300 <= status < 400:
            return Result.not_asked(
                _ID, f"{url} answers {status}: another login stands in front, and no request reached us"
            )
        if status not in (401, 403):
            text = f"answers {status}, where compat_auth answers 401 to a caller without a credential"
            step = "write the address at which clients reach the gateway, with its path; name its configuration by --config if prefix is set"
            return Result(_ID, "failure", text, url, step)
        return None

    def _headers(self, send: Send, before: Mark, status: int) -> Iterator[Result]:
        known = identity_headers(self.name, self.more)
        leaking: list[str] = []
        for pairs in (*_slices(known), *([pair] for pair in spellings(self.name))):
            for name, other in self._bisect(send, before, pairs):
                leaking.append(name)
                yield self._leak(f"the header {name}", status, other, name)
        # A header that gets through anyway needs no address.
        claims = {name: self.name for name in ("X-Forwarded-User", "Remote-User") if name not in leaking}
        for headers in address_headers():
            answer = send({**claims, **headers})
            if answer is not None and has_effect(before, answer):
                names = list(headers)
                yield self._leak(f"an address in {', '.join(names)}", status, answer, names[0])

    def _bisect(self, send: Send, before: Mark, pairs: Pairs) -> Iterator[tuple[str, HttpAnswer]]:
        """Yield each header of these that has an effect, and the answer."""
        answer = send(dict(pairs))
        is_refused = answer is None or answer.status in REFUSED_INPUT
        is_believed = answer is not None and has_effect(before, answer)
        if len(pairs) == 1:
            if answer is not None and is_believed:
                yield pairs[0][0], answer
        # A refusal of one hides the effect of the others.
        elif is_refused or is_believed:
            half = len(pairs) // 2
            yield from self._bisect(send, before, pairs[:half])
            yield from self._bisect(send, before, pairs[half:])

    def _hosts(self, whoami: str) -> Iterator[Result]:
        for target in (whoami, f"{self.site.root}{self.prefix}login"):
            plain = self.site.get(target)
            for name, value in host_headers():
                answer = self.site.get(target, {name: value})
                if answer is not None and plain is not None and names_canary(answer):
                    text = f"the header {name} of a client decides which host the answer names, so that links may lead elsewhere"
                    step = f"set token_endpoint.public_url, and let the proxy overwrite it: nginx: proxy_set_header {name} $host;"
                    yield Result(_ID, "failure", text, self.site.url, step)

    def _paths(self) -> Iterator[Result]:
        target = self.site.root + self.path
        before = self.site.must_get(target)
        if before.status not in (401, 403):
            if is_content(before):
                text = f"a caller without a credential gets {before.status} with content"
                step = "let the proxy send all of the API to the gateway; name its paths in upstream.protect"
                yield Result(_ID, "failure", text, f"{self.site.url}{self.path}", step)
            else:
                yield Result.not_asked(
                    _ID, f"{self.path} answers {before.status}; name a protected path with --probe-path"
                )
            return
        if not is_ours(before):
            text = (
                f"answers {before.status}, which is not a refusal of compat_auth: the request went around the gateway"
            )
            step = "let the proxy send this path to the gateway, and nothing to the upstream itself"
            yield Result(_ID, "failure", text, f"{self.site.url}{self.path}", step)
            return
        open_path = f"{self.prefix}live"
        usual = self.site.get(self.site.root + open_path)
        elsewhere = self.site.get(f"{self.site.root}/{self.name}/x")
        protected = f"{self.site.root}/{self.path.split('/')[1]}/"
        doubtful: list[str] = []
        for attack in path_attacks(self.path, self.site.root, open_path, self.site.host):
            answer = self.site.get(attack.target, dict(attack.headers))
            if answer is None or not is_past_us(answer) or is_like(answer, usual, body=True):
                continue
            shown = f"GET {attack.target}" + "".join(f" with {name}: {value}" for name, value in attack.headers)
            is_below = attack.target.startswith(protected)
            # A path that needs no credential goes to the upstream, too: its answer alone does not tell them apart.
            if (
                not is_below
                and elsewhere is not None
                and is_past_us(elsewhere)
                and is_like(answer, elsewhere, body=False)
            ):
                doubtful.append(shown)
                continue
            text = f"{shown} gets {answer.status} without a credential: it reached the upstream past the check"
            step = "let the proxy forward the path as received, send all of the site through the gateway, and overwrite these headers"
            yield Result(_ID, "failure", text, self.site.url, step)
        if doubtful:
            text = f"{len(doubtful)} other spellings of {self.path} reach the upstream as unprotected paths do: {doubtful[0]}"
            step = "check that the upstream takes none of them for the protected path, or add '/' to upstream.protect"
            yield Result(_ID, "warning", text, self.site.url, step)

    def _forward_auth(self) -> Iterator[Result]:
        for question in forward_auth_questions(self.site.root + self.prefix, self.site.host):
            answer = self.site.get(question.target, dict(question.headers))
            if answer is not None and answer.status == 200 and not is_page(answer):
                text = f"{question.target} answers a client, who may learn and receive what only the proxy should"
                step = f"let the proxy answer 404 below {self.prefix}forward-auth/, or use forward_auth.bind"
                yield Result(_ID, "failure", text, self.site.url, step)

    def _leak(self, cause: str, status: int, answer: HttpAnswer, header: str) -> Result:
        got = f"{answer.status} as {username_in(answer)!r}" if answer.status == 200 else str(answer.status)
        if got == str(status):
            got += " with another challenge"
        text = f"{cause} of a client reaches the gateway and is believed: whoami answers {got}, without it {status}"
        return Result(_ID, "failure", text, self.site.url, _OVERWRITE.format(name=header))


def _slices(pairs: Pairs) -> Iterator[Pairs]:
    for start in range(0, len(pairs), _AT_ONCE):
        yield pairs[start : start + _AT_ONCE]
