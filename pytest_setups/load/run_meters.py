"""The meters of a run, and the requests of all its processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_setups.api.client import Client
from pytest_setups.api.request_log import RequestLog
from pytest_setups.load.meters import Meters
from pytest_setups.load.server_counters import OwnRequests, ServerCounters

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pytest_setups.load.meters import Meter
    from pytest_setups.run.connection import Connection


class RunMeters:
    """What runs beside the measured span of a run, in its controller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._worker_logs: list[RequestLog] = []
        self._lost_workers = 0
        self._meters: Meters | None = None

    def start(self) -> None:
        """Begin at the first call; nothing is measured where no server answered."""
        if self._meters is None and self._connection.fault is None and self._connection.server is not None:
            self._meters = Meters(self._all())
            self._meters.start()

    def stop(self) -> None:
        """End at the first call."""
        if self._meters is not None:
            self._meters.stop()

    def add_worker(self, log: str | None) -> None:
        """Add the requests of a worker, None where it was lost with them."""
        if log is None:
            self._lost_workers += 1
        else:
            self._worker_logs.append(RequestLog.from_json(log))

    def records(self) -> dict[str, BaseModel]:
        """What was measured, by the field of ``performance``."""
        return self._meters.records() if self._meters is not None else {}

    def _all(self) -> dict[str, Meter]:
        connection = self._connection
        backend = connection.connected_server().identity.backend
        return {"server_counters": ServerCounters(self._client, backend, self._own_requests)}

    def _client(self) -> Client:
        settings = self._connection.settings
        return Client(
            base_url=self._connection.base_url,
            api_key=settings.api_key(),
            timeout_s=settings.timeout,
            connections=1,
        )

    def _own_requests(self) -> OwnRequests:
        unknown = None
        if self._connection.program is not None:
            unknown = "the requests of another tagger are not known"
        elif self._lost_workers:
            unknown = "the requests of a worker that crashed are not known"
        return OwnRequests(RequestLog.merged([self._connection.request_log, *self._worker_logs]), unknown)
