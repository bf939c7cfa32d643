"""Lets the refusal of an unknown name take as long as that of a wrong password.

A server answers a bind for an entry that does not exist sooner than a wrong password: it computes no hash, and counts no
failure. No bind could cost the same without counting as a failure of somebody. So an unknown name costs some more questions
to the server, as many as it takes for both kinds of refusals to have the same median; a long difference is waited for.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from statistics import median_low

_REMEMBERED = 127
# A server that hung once must not hold up a thread for each unknown name.
_LONGEST_S = 1.0
# So much is slept, because the system wakes a thread late by far less; a shorter time is filled with questions.
_SLEPT_S = 0.005
_SHORTEST_S = 0.00005
_STEP = 0.01
_PARTS = 1 << 16


class RefusalTimes:
    """How long refusals of wrong passwords take, and what those of unknown names lack. Any thread may call.

    Args:
        now: Clock, in seconds.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self, now: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.now = now
        self._sleep = sleep
        self._wrong: deque[float] = deque(maxlen=_REMEMBERED)
        self._asked: deque[float] = deque(maxlen=_REMEMBERED)
        self._lacks_s: float | None = None

    def note_wrong(self, began: float) -> None:
        """Note that the password of a known user has been refused now.

        Args:
            began: When its check began, by `now`.
        """
        self._wrong.append(min(self.now() - began, _LONGEST_S))

    def fill(self, began: float, ask: Callable[[], object]) -> None:
        """Let the refusal of an unknown name take as long as that of a wrong password; as it is before the first of those.

        Args:
            began: As in `note_wrong`.
            ask: Asks the server something short.
        """
        if not self._wrong:
            return
        usual_s = median_low(tuple(self._wrong))
        lacks_s = self._lacks_s
        if lacks_s is None:
            lacks_s = max(0.0, usual_s - (self.now() - began))
        # After a slow phase the small steps alone would need thousands of names to come down.
        lacks_s = min(lacks_s, usual_s)
        if lacks_s > _SLEPT_S:
            self._sleep(lacks_s)
        elif lacks_s > 0:
            self._ask_for(lacks_s, ask)
        # A small step to where every second unknown name takes longer than the usual wrong password.
        step_s = usual_s * _STEP
        is_longer = self.now() - began > usual_s
        self._lacks_s = min(max(0.0, lacks_s + (-step_s if is_longer else step_s)), _LONGEST_S)

    def _ask_for(self, lacks_s: float, ask: Callable[[], object]) -> None:
        takes_s = median_low(tuple(self._asked)) if self._asked else lacks_s
        # Rounded up as often as the rest is large.
        for _ in range(int(lacks_s / max(takes_s, _SHORTEST_S) + secrets.randbelow(_PARTS) / _PARTS)):
            asked_at = self.now()
            ask()
            self._asked.append(self.now() - asked_at)
