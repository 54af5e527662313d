"""The server of a run: waiting until it is ready, its models, and which of them serves each stage."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.api.client import server_root
from pytest_setups.api.errors import FaultKind, ServerError
from pytest_setups.redaction import one_line, printable, redact_url
from pytest_setups.registry.entry import Stage
from pytest_setups.serving.backends import Identity, identify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_setups.api.client import Answer, Client

FIRST_CONTACT_S: Final = 10.0
READY_POLL_S: Final = 0.25


class ModelChoiceError(Exception):
    """The models wished for and the models served do not fit; the message says what to type."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answered: its models by stage, and what it says of itself."""

    base_url: str
    served: tuple[str, ...]
    models: Mapping[Stage, str]
    identity: Identity = field(default_factory=Identity)
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The served model name of the captions."""
        return self.models[Stage.CAPTION]


def meet(client: Client, wished: Mapping[Stage, str | None]) -> Server:
    """Ask the server for its models, choose one for each stage, and learn who it is.

    Raises:
        ServerError: it does not list models.
        ModelChoiceError: several are listed and none is chosen, or the chosen one is not listed.
    """
    answer = list_models(client)
    served = _names(answer)
    models = {stage: _choose(stage, name, served) for stage, name in wished.items()}
    backend, identity = identify(client, answer, models[Stage.CAPTION])
    return Server(
        base_url=client.base_url,
        served=served,
        models=models,
        identity=identity,
        parameters=backend.parameters if backend else {},
    )


def list_models(client: Client) -> Answer:
    """The answer of ``/v1/models``.

    Raises:
        ServerError: no such answer; the message says whether ``/v1`` is missing from the base URL.
    """
    timeout_s = min(FIRST_CONTACT_S, client.timeout_s)
    try:
        return client.get("/models", timeout_s=timeout_s)
    except ServerError as error:
        if error.kind in {FaultKind.STATUS, FaultKind.ANSWER} and _answers_below_v1(client, timeout_s):
            message = f"{error}; {redact_url(client.base_url)}/v1 answers: is that the base URL?"
            raise ServerError(error.kind, message, error.status) from None
        raise


def wait_until_ready(
    client: Client,
    request: Callable[[str], bytes],
    seconds: float,
    *,
    model: str | None = None,
    check_alive: Callable[[], None] = lambda: None,
) -> None:
    """Wait until the server answers a request, or refuses it for good.

    ``/v1/models`` and ``/health`` answer before a server can work, so that a real request is sent.

    Args:
        client: the server's client.
        request: makes the encoded body of a chat completion for a model name.
        seconds: how long to wait; 0 does not wait.
        model: the model to ask, or None for the first that is listed.
        check_alive: called between attempts; raises when waiting longer is useless.

    Raises:
        ServerError: not ready in time; the message holds the server's last answer.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            _ask_once(client, request, model, max(end - time.monotonic(), 1.0))
        except ServerError as error:
            if not _passing(error):
                return
            if time.monotonic() >= end:
                message = f"not ready after {seconds:g} s: {error}"
                raise ServerError(error.kind, message, error.status) from None
        else:
            return
        check_alive()
        time.sleep(READY_POLL_S)


def warm_up(client: Client, body: bytes, times: int, *, stream: bool) -> None:
    """Ask ``times`` times before measuring; the first picture is slow on many servers (llama.cpp#27147).

    Raises:
        ServerError: the server hangs or is gone; other faults are left to the tests.
    """
    for _ in range(times):
        try:
            client.chat(body, stream=stream)
        except ServerError as error:
            if error.kind in {FaultKind.TIMEOUT, FaultKind.UNREACHABLE}:
                raise
            return


def _passing(error: ServerError) -> bool:
    """Whether waiting may help: nobody there yet, loading (503), a gateway whose server is not up."""
    return error.kind is not FaultKind.STATUS or error.status in {429, 502, 503, 504}


def _ask_once(client: Client, request: Callable[[str], bytes], model: str | None, seconds: float) -> None:
    timeout_s = min(seconds, client.timeout_s)
    names = _names(client.get("/models", timeout_s=min(FIRST_CONTACT_S, timeout_s)))
    client.chat(request(model or names[0]), stream=False, timeout_s=timeout_s)


def _answers_below_v1(client: Client, timeout_s: float) -> bool:
    if server_root(client.base_url) != client.base_url:
        return False
    try:
        return bool(_names(client.get("/v1/models", timeout_s=timeout_s)))
    except ServerError:
        return False


def _names(answer: Answer) -> tuple[str, ...]:
    data = answer.data.get("data") if isinstance(answer.data, dict) else None
    names = [model.get("id") for model in data if isinstance(model, dict)] if isinstance(data, list) else []
    served = tuple(name for name in names if isinstance(name, str) and name and printable(name) == name)
    if not served:
        message = "/models lists no models"
        raise ServerError(FaultKind.ANSWER, message)
    return served


def _choose(stage: Stage, wished: str | None, served: tuple[str, ...]) -> str:
    listed = ", ".join(one_line(name, 100) for name in served)
    if wished is None and len(served) > 1:
        message = f"the server lists several models: {listed}; choose one with --setup-model NAME"
        raise ModelChoiceError(message)
    if wished is not None and wished not in served:
        message = f"the server does not list the {stage} model {wished!r}; it serves {listed}"
        raise ModelChoiceError(message)
    return wished or served[0]
