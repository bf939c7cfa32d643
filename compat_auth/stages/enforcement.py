"""Enforces the stages: headers for a use that is allowed, and a refusal that explains itself for one that is not."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from email.utils import formatdate
from typing import Protocol

from compat_auth.concurrency.rate_limit import RateLimit, share_of
from compat_auth.config import Settings
from compat_auth.errors import StageRefusal
from compat_auth.stages.choice import RuleSet, Use
from compat_auth.stages.memory import StageMemory
from compat_auth.stages.rules import UNAUTHORIZED, StageRule

# What the upstream itself takes, whatever else is switched off (RFC 9110 15.5.2: a 401 has a challenge).
_BEARER = "Bearer"
_MOST_LIMITS = 1000
Headers = tuple[tuple[str, str], ...]


class Offering(Protocol):
    """A backend, as far as it is needed here."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    def challenges(self) -> tuple[str, ...]:
        """Return its `WWW-Authenticate` values."""
        ...


class Stages:
    """Enforces the stages in one process. Any thread may use it.

    Args:
        memory: The rules.
        backends: Those of the chain, for the challenges of a 401.
        page: Address of the site's page about the end of logins; "": there is none.
        workers: Processes that share the limits of throttles.
        now: Seconds since the epoch.
        monotonic: Clock of the throttles, in seconds.

    Attributes:
        memory: As given.
    """

    def __init__(
        self,
        memory: StageMemory,
        backends: Iterable[Offering] = (),
        *,
        page: str = "",
        workers: int = 1,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory = memory
        self._backends = tuple(backends)
        self._page = page
        self._workers = workers
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._limits: dict[int, RateLimit] = {}

    @classmethod
    def from_settings(cls, settings: Settings, backends: Iterable[Offering]) -> Stages:
        """Return the stages of a configuration; the store is opened at first use.

        Raises:
            ConfigError: The URL of the store cannot work.
        """
        memory = StageMemory.from_settings(settings)
        return cls(memory, backends, page=settings.stages.page, workers=settings.serve.workers)

    def find(self, rules: RuleSet, use: Use) -> StageRule | None:
        """Return the rule for a use now; None: it is on."""
        return rules.find(use, self._now())

    def may_concern(self, rules: RuleSet, backend: str, principal: str, origins: tuple[str, ...] = ()) -> bool:
        """Return whether any use of a login has, or could have, any stage except `on` from now on."""
        return rules.may_concern(backend, principal, origins, self._now())

    def judge(self, rules: RuleSet, use: Use, *, counted: StageRule | None = None) -> Headers:
        """Return the headers of the answer to a use that its stage allows.

        Args:
            rules: The rules.
            use: The use.
            counted: A rule that has counted the request already.

        Raises:
            StageRefusal: The use is switched off, or in a brownout, or throttled.
        """
        now = self._now()
        rule = rules.find(use, now)
        if rule is None or rule.stage == "on":
            return ()
        headers = self._headers(rule)
        if rule.stage == "off":
            raise StageRefusal(
                f"{_named(use)}: this login is switched off here; {self._hint()}",
                UNAUTHORIZED,
                headers=headers,
                challenges=self._challenges(rules, use, now),
            )
        if rule.stage == "brownout" and (end := rule.window_end(now)) is not None:
            raise StageRefusal(
                f"{_named(use)}: this login is going to end, and until {_utc(end)} it is refused to show who still uses "
                f"it; {self._hint()}",
                rule.status,
                retry_after_s=end - math.floor(now),
                headers=headers,
                challenges=self._challenges(rules, use, now),
            )
        if rule.stage == "throttle" and rule != counted:
            self._throttle(rule, use, headers)
        return headers

    def _throttle(self, rule: StageRule, use: Use, headers: Headers) -> None:
        with self._lock:
            limit = self._limits.get(rule.per_minute)
            if limit is None:
                if len(self._limits) >= _MOST_LIMITS:
                    self._limits.clear()
                enough = share_of(rule.per_minute, self._workers)
                limit = self._limits[rule.per_minute] = RateLimit(enough, self._monotonic)
        selector = rule.selector
        key = (selector.backend, selector.operation, selector.principal, use.principal.casefold() or use.caller)
        if not limit.count(*key):
            raise StageRefusal(
                f"{_named(use)}: this login is going to end, and is limited to {rule.per_minute} requests a minute; "
                f"{self._hint()}",
                429,
                retry_after_s=max(1, limit.wait_s(*key)),
                headers=headers,
            )

    def _headers(self, rule: StageRule) -> Headers:
        headers: list[tuple[str, str]] = []
        if rule.deprecated is not None:
            headers.append(("Deprecation", f"@{rule.deprecated}"))
        if rule.sunset is not None:
            headers.append(("Sunset", formatdate(rule.sunset, usegmt=True)))
        if self._page:
            headers.append(("Link", f'<{self._page}>; rel="sunset", <{self._page}>; rel="deprecation"'))
        return tuple(headers)

    def _challenges(self, rules: RuleSet, use: Use, now: float) -> tuple[str, ...]:
        """Return the challenges of the backends that would still take a credential of the caller for this use."""
        refused = {use.backend, *use.origins}
        chosen: dict[str, str] = {}
        for backend in self._backends:
            if backend.name in refused:
                continue
            rule = rules.find(replace(use, backend=backend.name, origins=()), now)
            if rule is not None and rule.severity(now) >= 3:
                continue
            for challenge in backend.challenges():
                chosen.setdefault(challenge.split(" ", 1)[0].lower(), challenge)
        return tuple(chosen.values()) or (_BEARER,)

    def _hint(self) -> str:
        return f"see {self._page}" if self._page else "ask the administrator which login to use"


def _named(use: Use) -> str:
    return use.backend if not use.origins else f"{use.backend} (made by {', '.join(use.origins)})"


def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
