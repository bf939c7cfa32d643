"""Gives each group of tests to one process of xdist, the longest first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from support.peers.groups import group_of, rank


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types everywhere
    """As `--dist loadfile`, but files that share a peer stay together."""

    workqueue: OrderedDict[str, Any]

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])

    def _assign_work_unit(self, node: Any) -> None:
        # xdist has sorted by the number of tests, which says nothing about how long they take.
        ordered = sorted(self.workqueue.items(), key=lambda unit: rank(unit[0]))
        self.workqueue = OrderedDict(ordered)
        super()._assign_work_unit(node)
