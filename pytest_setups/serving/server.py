"""The server of a run: waiting until it is ready, its models, and which of them serves each stage."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.api.client import server_root
from pytest_setups.api.errors import FaultKind, ServerError
from pytest_setups.redaction import one_line, printable, redact_url
from pytest_setups.registry.entry import Stage
from pytest_setups.serving.backends import Identity, SchemaForm, identify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_setups.api.client import Answer, Client

# A list of models needs no computing: a server that takes longer than this hangs.
FIRST_CONTACT_S: Final = 10.0
READY_POLL_S: Final = 0.25


class ModelChoiceError(Exception):
    """The requested models are not those that are served; the message says what to type."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answered.

    ``models`` are the served model names by stage; ``parameters`` are sampling parameters that every
    request to this kind of server carries; ``schema_form`` is how it wants a JSON schema.
    """

    base_url: str
    models: Mapping[Stage, str]
    identity: Identity = field(default_factory=Identity)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    schema_form: SchemaForm = SchemaForm.OPENAI

    @property
    def model(self) -> str:
        """The served model name of the captions."""
        return self.models[Stage.CAPTION]


def query_server(client: Client, requested: Mapping[Stage, str | None]) -> Server:
    """Ask the server for its models, choose one for each stage, and identify the kind of server.

    Args:
        client: the server's client.
        requested: the model name that the user gave for each stage, or None.

    Raises:
        ServerError: it does not list models.
        ModelChoiceError: several are listed and none is chosen, or the chosen one is not listed.
    """
    answer = list_models(client)
    served = _model_names(answer)
    models = {stage: _choose(stage, name, served) for stage, name in requested.items()}
    # Stages may have different models, all of one server.
    backend, identity = identify(client, answer, models[Stage.CAPTION])
    return Server(
        base_url=client.base_url,
        models=models,
        identity=identity,
        parameters=backend.parameters if backend else {},
        schema_form=backend.schema_form if backend else SchemaForm.OPENAI,
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
        # The commonest mistake: /models is at /v1/models on every server that is supported.
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
            # At least a second: with nothing left, the last attempt could only fail.
            _ask_once(client, request, model, max(end - time.monotonic(), 1.0))
        except ServerError as error:
            if not _is_temporary(error):
                return  # the tests report it: an answer, though not a good one
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


def _is_temporary(error: ServerError) -> bool:
    """Whether waiting may help: no connection yet, a model that loads, a gateway without its server."""
    # An answer that did not end is an answer: the few words of the readiness request may look like it.
    if error.kind is FaultKind.UNFINISHED:
        return False
    # llama.cpp answers 503 while it loads (llama.cpp#9056); gateways answer 502, 503 or 504 until
    # their server listens, and 429 when it is busy.
    return error.kind is not FaultKind.STATUS or error.status in {429, 502, 503, 504}


def _ask_once(client: Client, request: Callable[[str], bytes], model: str | None, seconds: float) -> None:
    timeout_s = min(seconds, client.timeout_s)
    names = _model_names(client.get("/models", timeout_s=min(FIRST_CONTACT_S, timeout_s)))
    client.chat(request(model or names[0]), stream=False, timeout_s=timeout_s, may_wait=False)


def _answers_below_v1(client: Client, timeout_s: float) -> bool:
    if server_root(client.base_url) != client.base_url:
        return False
    try:
        return bool(_model_names(client.get("/v1/models", timeout_s=timeout_s)))
    except ServerError:
        return False


def _model_names(answer: Answer) -> tuple[str, ...]:
    """The names in the answer of ``/v1/models``, without those that a terminal could not show."""
    data = answer.data.get("data") if isinstance(answer.data, dict) else None
    names = [model.get("id") for model in data if isinstance(model, dict)] if isinstance(data, list) else []
    served = tuple(name for name in names if isinstance(name, str) and name and printable(name) == name)
    if not served:
        raise ServerError(FaultKind.ANSWER, "/models lists no models")
    return served


def _choose(stage: Stage, requested: str | None, served: tuple[str, ...]) -> str:
    listed = ", ".join(one_line(name, 100) for name in served)
    if requested is None and len(served) > 1:
        raise ModelChoiceError(
            f"the server lists several models: {listed}; choose one with --setup-model NAME"
        )
    if requested is not None and requested not in served:
        raise ModelChoiceError(
            f"the server does not list the {stage} model {requested!r}; it serves {listed}"
        )
    return requested or served[0]
