"""One result of `doctor`: its status, and what, where and the next step."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from compat_auth.cli.diagnosis.finding import Finding, split_problem

Status = Literal["ok", "warning", "failure", "not asked"]
MARKS: dict[Status, str] = {"ok": "ok  ", "warning": "WARN", "failure": "FAIL", "not asked": "--  "}


@dataclass(frozen=True, slots=True)
class Result:
    """One result.

    Attributes:
        id: The question, such as `redis_url`; stable between versions.
        status: `not asked` says in `what` why.
        what: What was found.
        where: The setting, file or peer.
        next: The next step; "" if nothing has to change.
    """

    id: str
    status: Status
    what: str
    where: str
    next: str = ""

    @classmethod
    def okay(cls, about: str, what: str, where: str = "") -> Result:
        """Return that everything is right."""
        return cls(about, "ok", what, where or about)

    @classmethod
    def not_asked(cls, about: str, why: str) -> Result:
        """Return that the question was not asked."""
        return cls(about, "not asked", why, about)

    @classmethod
    def warning(cls, about: str, text: str) -> Result:
        """Return a doubt: "WHERE: WHAT; NEXT STEP"."""
        return cls._of(about, "warning", text)

    @classmethod
    def failure(cls, about: str, text: str) -> Result:
        """Return a mistake: "WHERE: WHAT; NEXT STEP"."""
        return cls._of(about, "failure", text)

    @classmethod
    def of_check(cls, finding: Finding) -> Result:
        """Return a finding of `check`."""
        if finding.problem:
            return cls.failure(finding.what, finding.problem)
        if finding.warning:
            return cls.warning(finding.what, finding.warning)
        if finding.detail.startswith("not checked: "):
            return cls.not_asked(finding.what, finding.detail)
        return cls.okay(finding.what, finding.detail)

    @property
    def ok(self) -> bool:
        """Whether nothing has to change."""
        return self.status != "failure"

    def for_programs(self) -> dict[str, object]:
        """Return the result as `doctor --json` prints it: as `check --json`, and `status`."""
        return {**asdict(self), "ok": self.ok}

    def for_people(self) -> str:
        """Return the result as one line."""
        where = f"{self.where}: " if self.where != self.id else ""
        return f"{MARKS[self.status]} {self.id}: {where}{self.what}" + (f"; {self.next}" if self.next else "")

    @classmethod
    def _of(cls, about: str, status: Status, text: str) -> Result:
        where, what, following = split_problem(text)
        return cls(about, status, what, where or about, following)
