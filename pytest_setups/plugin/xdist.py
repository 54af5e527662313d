"""Scheduling under xdist: the stages of one image stay in one worker, which prepares it once."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling


class ImageScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out the suite's tests image by image, and every other test by itself.

    After a crash it behaves as xdist's default does: the test that crashed is not run again, and what
    was left for its worker goes to the others.
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
        """Give a worker more; it keeps its last test until it has another or knows that none follows."""
        if node not in self.registered_collections:
            return  # it replaces one that crashed, and has yet to say what it collected
        super()._reschedule(node)
        while self.workqueue and not node.shutting_down and self._pending_of(self.assigned_work[node]) <= 1:
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()

    def _split_scope(self, nodeid: str) -> str:
        is_stage = nodeid.startswith("setup::") and nodeid.endswith("]")
        return nodeid.partition("[")[2] if is_stage else nodeid
