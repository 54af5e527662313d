"""A circuit breaker: a server that has stopped answering is not waited for by every request that is left.

vLLM was seen to hang while ``/health`` answers 200 (vllm#17972), so that only a chat request shows whether
a server still works.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Final

from pytest_setups.api.errors import FaultKind, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

MISSES: Final = 3
"""Requests in a row without an answer, after which the server is probed."""
NO_ANSWER: Final = frozenset({FaultKind.TIMEOUT, FaultKind.UNREACHABLE})
"""Any other fault, such as HTTP 500, is an answer: the server works."""
PROBE_TOKENS: Final = 4


class CircuitBreaker:
    """Counts requests without an answer, and opens once a probe after some in a row gets none either.

    It stays open. Any number of threads may call it at once; one of them probes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._missed = 0
        self._first = ""
        self._answers = 0
        self._is_probing = False
        self._reason: str | None = None

    @property
    def fault(self) -> ServerError | None:
        """Why nothing is asked any more, None while it is closed."""
        return None if self._reason is None else ServerError(FaultKind.STOPPED, self._reason)

    def answered(self) -> None:
        """The server answered a request, with whatever."""
        with self._lock:
            self._missed = 0
            self._answers += 1

    def failed(self, error: ServerError, probe: Callable[[], object]) -> bool:
        """A request failed; whether the breaker has opened because of it.

        ``probe`` asks the server, in this thread, for an answer; it raises ServerError where there is none.
        """
        if error.kind not in NO_ANSWER:
            self.answered()
            return False
        answers = self._count(str(error))
        if answers is None:
            return False
        try:
            is_silent = _is_silent(probe)
        finally:
            with self._lock:
                self._is_probing = False
        with self._lock:
            # A request that another thread made may have been answered meanwhile.
            if not is_silent or self._answers != answers:
                self._missed = 0
                return False
            reason = (
                f"the server stopped answering: {self._missed} requests in a row and a small one after them "
                f"got no answer; the first: {self._first}"
            )
        self.open(reason)
        return True

    def open(self, reason: str) -> None:
        """Open it; the first reason is kept."""
        with self._lock:
            self._reason = self._reason or reason

    def _count(self, fault: str) -> int | None:
        """Count a request without an answer; the number of answers so far where a probe is due."""
        with self._lock:
            self._first = self._first if self._missed else fault
            self._missed += 1
            if self._missed < MISSES or self._is_probing or self._reason is not None:
                return None
            self._is_probing = True
            return self._answers


def probe_body(body: bytes) -> bytes:
    """A request for a few words, without a picture, to the model that another request asked."""
    content = [{"type": "text", "text": "Answer with one word."}]
    fields = {"messages": [{"role": "user", "content": content}], "max_tokens": PROBE_TOKENS}
    return json.dumps({"model": json.loads(body).get("model"), **fields, "stream": False}).encode()


def _is_silent(probe: Callable[[], object]) -> bool:
    """Whether a probe gets no answer."""
    try:
        probe()
    except ServerError as error:
        return error.kind in NO_ANSWER
    return False
