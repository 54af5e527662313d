"""Scheduling under xdist: the stages of one image stay in one worker, which prepares it once."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

from pytest_setups.plugin.state import SUITE_NODE


class ImageScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Assigns the suite's tests to workers image by image, and every other test on its own.

    LoadScopeScheduling runs a test that crashed its worker again, which may crash every worker in turn.
    Here, as with xdist's default scheduler, it counts as failed, and the rest of its worker's tests go to
    the others.
    """

    def remove_node(self, node: Any) -> str | None:
        """Take back a worker's work; the test it crashed in, or None."""
        workload = self.assigned_work.pop(node)
        left = [(unit, nodeid) for unit in workload.values() for nodeid, done in unit.items() if not done]
        if not left:
            return None
        unit, crashed = left[0]
        unit[crashed] = True
        self.workqueue.update({scope: unit for scope, unit in workload.items() if not all(unit.values())})
        for other in self.assigned_work:
            self._reschedule(other)
        return str(crashed)

    def _reschedule(self, node: Any) -> None:
        """Assign more tests to a worker, which runs its last one only when it knows what follows."""
        if node not in self.registered_collections:
            return  # a replacement for a crashed worker, which has not reported its collection yet
        super()._reschedule(node)
        while self.workqueue and not node.shutting_down and self._pending_of(self.assigned_work[node]) <= 1:
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()

    def _split_scope(self, nodeid: str) -> str:
        is_stage = nodeid.startswith(f"{SUITE_NODE}::") and nodeid.endswith("]")
        return nodeid.partition("[")[2] if is_stage else nodeid
