"""Scheduling under xdist: the stages of one image stay in one worker, which prepares it once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from xdist.scheduler import LoadScopeScheduling

from pytest_setups.plugin.state import SUITE_NODE


class ImageScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Assigns the suite's tests to workers image by image, and every other test on its own.

    LoadScopeScheduling runs a test that crashed its worker again, which may crash every worker in turn.
    Here, as with xdist's default scheduler, it counts as failed, and the rest of its worker's tests go to
    the others.

    A worker's work is what it has left: xdist keeps finished units too, counts all of them after each test
    and searches the collection for each test that it assigns, so that 10,000 images would cost a hundred
    times as much as 1,000.
    """

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """A test has reported; with reruns it may do so again."""
        nodeid = self.registered_collections[node][item_index]
        workload, scope = self.assigned_work[node], self._split_scope(nodeid)
        if scope in workload:
            workload[scope][nodeid] = True
            if all(workload[scope].values()):
                del workload[scope]
        self._reschedule(node)

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

    @cached_property
    def _positions(self) -> dict[str, int]:
        """The position of each test in the collection, which is the same in all workers."""
        return {nodeid: position for position, nodeid in enumerate(self.collection)}

    def _assign_work_unit(self, node: Any) -> None:
        """Assign the next unit to a worker."""
        scope, unit = self.workqueue.popitem(last=False)
        self.assigned_work[node][scope] = unit
        node.send_runtest_some([self._positions[nodeid] for nodeid, done in unit.items() if not done])

    def _split_scope(self, nodeid: str) -> str:
        is_stage = nodeid.startswith(f"{SUITE_NODE}::") and nodeid.endswith("]")
        return nodeid.partition("[")[2] if is_stage else nodeid
