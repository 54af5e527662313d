"""The meters of a run, and the requests of all its processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.api.request_log import RequestLog
from pytest_setups.load.energy_meter import EnergyMeter
from pytest_setups.load.meters import Meters
from pytest_setups.load.server_counters import OwnRequests, ServerCounters
from pytest_setups.load.warm_cache import SentPictures
from pytest_setups.registry.load_records import ServerCountersRecord

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pytest_setups.load.meters import Meter
    from pytest_setups.run.collector import Collected
    from pytest_setups.run.connection import Connection

SERVER_COUNTERS: Final = "server_counters"


class RunMeters:
    """What runs beside the measured span of a run, in its controller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._worker_logs: list[RequestLog] = []
        self._lost_workers = 0
        self._answers = 0
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

    def records(self, collected: Collected) -> dict[str, BaseModel]:
        """What was measured, by the field of ``performance``."""
        self._answers = sum(measured.latency_s is not None for measured in collected.measurements)
        records = self._meters.records() if self._meters is not None else {}
        counters = records.get(SERVER_COUNTERS)
        if isinstance(counters, ServerCountersRecord) and counters.reason is None:
            records[SERVER_COUNTERS] = self._with_pictures(counters, collected)
        return records

    def _with_pictures(self, counters: ServerCountersRecord, collected: Collected) -> ServerCountersRecord:
        digests = {name: self._connection.file_sha256(name) for name in collected.image_names}
        without = (collected.vision.without_picture if collected.vision else None) or {}
        text_tokens = without.get("prompt_tokens")
        sent = SentPictures.of(
            collected.measurements, digests, text_tokens if isinstance(text_tokens, int) else None
        )
        changes = {"pictures": len(sent.first), "pictures_cached": sent.cached(counters)}
        return counters.model_copy(update=changes)

    def _all(self) -> dict[str, Meter]:
        connection = self._connection
        backend = connection.connected_server().identity.backend
        price = connection.settings.price_kwh
        return {
            SERVER_COUNTERS: ServerCounters(connection.access.client, backend, self._own_requests),
            "energy": EnergyMeter(connection.base_url, price_kwh=price),
        }

    def _own_requests(self) -> OwnRequests:
        log = RequestLog.merged([self._connection.request_log, *self._worker_logs])
        unknown = None
        if self._connection.program is not None:
            unknown = "the requests of another tagger are not known"
        elif self._lost_workers:
            unknown = "the requests of a worker that crashed are not known"
        elif log.under_way:
            unknown = "requests were still under way when the run ended"
        elif len(log.answered) < self._answers:
            unknown = "not all requests of this run were counted"
        return OwnRequests(log, unknown)
