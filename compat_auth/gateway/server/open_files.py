"""The limits of this process: of open files, from which the number of connections follows, and of core dumps."""

from __future__ import annotations

import logging
import resource

from compat_auth.gateway.connections.bounds import MAX_CONNECTIONS

logger = logging.getLogger("compat_auth.server")

# Some programs that we start close every file descriptor up to the limit, one by one.
_MOST = 65_536
# Reserved for databases, directories, log, event loop and libraries.
_RESERVED = 128
_LOW = 1024


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard limit, at most 65,536, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY:
        return _MOST
    if soft < _LOW:
        logger.warning(
            "only %d files may be open, so a worker accepts at most %d connections; raise the limit (systemd: LimitNOFILE)",
            soft, connections_within(soft),
        )  # fmt: skip
    return soft


def forbid_core_dumps() -> None:
    """Make this process and its children write no core dump, which would have every secret in it."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    # 1 and not 0: Linux pipes dumps to a program such as systemd-coredump at any limit but 1 (fs/coredump.c).
    most = 1 if hard == resource.RLIM_INFINITY else min(1, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def connections_within(open_files: int) -> int:
    """Return how many client connections fit, each with one upstream connection, after the reserve for everything else."""
    return max(2, min(MAX_CONNECTIONS, (open_files - min(_RESERVED, open_files // 3)) // 2))
