"""The signing keys of `[token]`: their states and ages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from compat_auth.cli.doctor.result import Result
from compat_auth.concurrency.clock import unix_now
from compat_auth.config import Settings
from compat_auth.tokens.keys.key_file import StoredKey, read_key_file
from compat_auth.tokens.keys.keys import current_key, key_state

_DAY_S = 86_400
_OLD_S = 365 * _DAY_S
_SOON_S = 2 * _DAY_S


def examine_keys(settings: Settings) -> Iterator[Result]:
    """Yield a result for each key of the key file, or the one that there is none.

    Raises:
        KeyFileError: The file cannot be read or trusted.
    """
    strategy, path = settings.token.strategy, settings.token.key_file
    if strategy != "key_pair":
        why = "Airflow signs its own tokens" if strategy == "exchange" else "Airflow's own secret has no date"
        yield Result.not_asked("keys", f"token.strategy is {strategy}: {why}")
        return
    now, stored = unix_now(), read_key_file(Path(path)).keys
    current = current_key(stored, now)
    for key in stored:
        state, age_s = key_state(key, stored, now), now - key.created
        text = f"{key.kid} ({key.algorithm}) is {state}, {_days(age_s)} old"
        rotate = f"run: compat-auth keys rotate --file {path}"
        if key.created > now + _DAY_S:
            yield Result("keys", "warning", f"{text}: it was created in the future", path, "set this machine's clock")
        elif key is current and key.retires is not None and key.retires - now < _SOON_S and not _has_next(stored, now):
            yield Result("keys", "failure", f"{text}, retires soon, and no other key follows", path, rotate)
        elif key is current and age_s > _OLD_S:
            yield Result("keys", "warning", text, path, rotate)
        else:
            yield Result.okay("keys", text, path)


def _has_next(stored: tuple[StoredKey, ...], now: int) -> bool:
    return any(key_state(key, stored, now) == "next" for key in stored)


def _days(seconds: float) -> str:
    return f"{max(0, round(seconds / _DAY_S))} days"
