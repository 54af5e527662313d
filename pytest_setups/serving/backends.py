"""The kinds of server, as a table: how each is recognised, and where it answers what. A new one is a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.api.errors import ServerError
from pytest_setups.redaction import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_setups.api.client import Answer, Client

# Probes only inform: a route that hangs must not hold up a run.
PROBE_TIMEOUT_S: Final = 5.0
UNKNOWN: Final = "openai"
MODELS: Final = "models"
HEADERS: Final = "headers"
MAX_TEMPLATE: Final = 20_000  # templates with tools have some 10,000 characters


class SchemaForm(StrEnum):
    """How a server wants a JSON schema in ``response_format``; the value is the key that holds it.

    vLLM, SGLang, llama.cpp, Ollama, LM Studio and LMDeploy understand OpenAI's form.
    """

    OPENAI = "json_schema"
    JSON_SCHEMA_KEY = "schema"
    """``{"type": "json", "schema": {}}``; TensorRT-LLM takes all of ``json_schema`` for the schema itself."""
    JSON_VALUE_KEY = "value"
    """``{"type": "json", "value": {}}``: TGI."""


class PathStep(Enum):
    """A step of a JSON path that is not a key or an index."""

    SERVED_MODEL = auto()
    """In a list of models, the served one."""


JsonPath = tuple[str | int | PathStep, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """Where a backend answers something.

    ``route`` is a path below the server's root (``POST /path`` sends the model's name), ``models`` for
    ``/v1/models`` or ``headers`` for the headers of its answer. With ``holds`` the fact is whether the
    value is that word, or a list that contains it.
    """

    route: str
    path: JsonPath
    holds: str | None = None


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of server.

    It is recognised by the owner of the model in ``/v1/models`` (``owners``; empty: any), and then,
    where ``confirm`` names a fact, by having an answer for it.
    """

    name: str
    owners: tuple[str, ...] = ()
    confirm: Fact | None = None
    facts: Mapping[str, tuple[Fact, ...]] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    schema_form: SchemaForm = SchemaForm.OPENAI


@dataclass(frozen=True, slots=True)
class Identity:
    """What a server answers about itself, None where it does not; ``context_length`` is in tokens."""

    backend: str = UNKNOWN
    version: str | None = None
    model_path: str | None = None
    quantization: str | None = None
    format: str | None = None
    chat_template: str | None = None
    context_length: int | None = None
    vision: bool | None = None
    revision: str | None = None
    digest: str | None = None
    command: str | None = None


# These servers apply a checkpoint's generation_config.json unless a request names the parameters
# (vllm#15241), so that an upgrade of the checkpoint would change the sampling.
_NEUTRAL_SAMPLING: Final = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
_LISTED: Final = ("data", PathStep.SERVED_MODEL)
_LITELLM_VERSION: Final = Fact(HEADERS, ("x-litellm-version",))
_OLLAMA_VERSION: Final = Fact("/api/version", ("version",))
_OLLAMA_TAG: Final = ("models", PathStep.SERVED_MODEL)
_TGI_MODEL: Final = Fact("/info", ("model_id",))
_LMSTUDIO_TYPE: Final = Fact("/api/v0/models", (*_LISTED, "type"))

BACKENDS: Final = (
    # A proxy comes first, because it may pass on the answers of the servers behind it.
    Backend(
        "litellm",
        confirm=_LITELLM_VERSION,
        facts={"version": (_LITELLM_VERSION,)},
    ),
    Backend(
        "vllm",
        owners=("vllm",),  # /version would not do: TensorRT-LLM and routers have it too
        facts={
            "version": (Fact("/version", ("version",)),),
            "model_path": (Fact(MODELS, (*_LISTED, "root")),),
            "context_length": (Fact(MODELS, (*_LISTED, "max_model_len")),),
        },
        parameters=_NEUTRAL_SAMPLING,
    ),
    Backend(
        "sglang",
        owners=("sglang",),
        facts={
            # Older versions have the routes with get_.
            "version": (Fact("/server_info", ("version",)), Fact("/get_server_info", ("version",))),
            "model_path": (Fact("/model_info", ("model_path",)), Fact("/get_model_info", ("model_path",))),
            "vision": (
                Fact("/model_info", ("has_image_understanding",)),
                Fact("/get_model_info", ("has_image_understanding",)),
            ),
            "context_length": (Fact(MODELS, (*_LISTED, "max_model_len")),),
            "quantization": (Fact("/server_info", ("quantization",)),),
            "chat_template": (Fact("/server_info", ("chat_template",)),),
            "revision": (Fact("/server_info", ("revision",)),),
            "command": (Fact("/server_info", ("launch_command",)),),
        },
        parameters=_NEUTRAL_SAMPLING,
    ),
    Backend(
        "llama.cpp",
        owners=("llamacpp",),
        facts={
            "version": (Fact("/props", ("build_info",)),),
            "model_path": (Fact("/props", ("model_path",)),),
            "quantization": (
                Fact("/props", ("model_ftype",)),
                Fact(MODELS, (*_LISTED, "meta", "ftype")),
            ),
            "format": (Fact(MODELS, ("models", PathStep.SERVED_MODEL, "details", "format")),),
            "chat_template": (Fact("/props", ("chat_template",)),),
            # Of one slot: --ctx-size is shared by --parallel slots.
            "context_length": (Fact("/props", ("default_generation_settings", "n_ctx")),),
            "vision": (
                Fact("/props", ("modalities", "vision")),
                Fact(MODELS, ("models", PathStep.SERVED_MODEL, "capabilities"), holds="multimodal"),
            ),
        },
    ),
    Backend(
        "lmdeploy",
        owners=("lmdeploy",),
        facts={"context_length": (Fact(MODELS, (*_LISTED, "max_model_len")),)},
    ),
    Backend(
        "tensorrt-llm",
        owners=("tensorrt_llm",),
        facts={"version": (Fact("/version", ("version",)),)},
        schema_form=SchemaForm.JSON_SCHEMA_KEY,
    ),
    # Its owner is a placeholder that other servers may use too, hence the second sign.
    Backend(
        "lmstudio",
        owners=("organization_owner",),
        confirm=_LMSTUDIO_TYPE,
        facts={
            "format": (Fact("/api/v0/models", (*_LISTED, "compatibility_type")),),
            "quantization": (Fact("/api/v0/models", (*_LISTED, "quantization")),),
            "context_length": (
                Fact("/api/v0/models", (*_LISTED, "loaded_context_length")),
                Fact("/api/v0/models", (*_LISTED, "max_context_length")),
            ),
            "vision": (Fact("/api/v0/models", (*_LISTED, "type"), holds="vlm"),),
        },
    ),
    # The owner in the last two is not the server: Ollama names the model's author, TGI the model.
    Backend(
        "tgi",
        confirm=_TGI_MODEL,
        facts={
            "version": (Fact("/info", ("version",)),),
            "model_path": (_TGI_MODEL,),
            "revision": (Fact("/info", ("model_sha",)),),
            "context_length": (Fact("/info", ("max_total_tokens",)),),
        },
        schema_form=SchemaForm.JSON_VALUE_KEY,
    ),
    Backend(
        "ollama",
        confirm=_OLLAMA_VERSION,
        facts={
            "version": (_OLLAMA_VERSION,),
            "format": (Fact("POST /api/show", ("details", "format")),),
            "quantization": (Fact("POST /api/show", ("details", "quantization_level")),),
            "vision": (Fact("POST /api/show", ("capabilities",), holds="vision"),),
            "chat_template": (Fact("POST /api/show", ("template",)),),
            "digest": (Fact("/api/tags", (*_OLLAMA_TAG, "digest")),),
            "context_length": (Fact("/api/ps", (*_OLLAMA_TAG, "context_length")),),
        },
    ),
)
_TYPES: Final = {"context_length": int, "vision": bool}
_MODEL_NAME_KEYS: Final = ("id", "name", "model", "model_name")


def identify(client: Client, models: Answer, served: str) -> tuple[Backend | None, Identity]:
    """Which server answered ``/v1/models``, and what it answers about the served model.

    The backend is None for a server that is not in the table; a failed probe leaves its facts None.
    """
    probes = _Probes(client, models, served)
    owner = value_at(models.data, (*_LISTED, "owned_by"), served)
    # A server without an owner of its own in the table is recognised only where no other's is named,
    # except a proxy, whose header counts more than the owner that it passes on.
    known = {name for backend in BACKENDS for name in backend.owners}
    for backend in BACKENDS:
        owned = owner in backend.owners if backend.owners else owner not in known or _by_header(backend)
        if owned and (backend.confirm is None or probes.value(backend.confirm) is not None):
            answers = {name: probes.first(name, facts) for name, facts in backend.facts.items()}
            return backend, Identity(backend=backend.name, **answers)
    return None, Identity()


def value_at(data: object, path: JsonPath, served: str = "") -> object:
    """The value at a JSON path, None where there is none."""
    for step in path:
        if step is PathStep.SERVED_MODEL:
            data = _served_model(data, served)
        elif isinstance(step, str) and isinstance(data, dict):
            data = data.get(step)
        elif isinstance(step, int) and isinstance(data, list) and len(data) > step:
            data = data[step]
        else:
            return None
    return data


class _Probes:
    """The answers of a server's routes, each asked for once."""

    def __init__(self, client: Client, models: Answer, served: str) -> None:
        self._client = client
        self._served = served
        self._answers: dict[str, object] = {MODELS: models.data, HEADERS: dict(models.headers)}

    def first(self, name: str, facts: tuple[Fact, ...]) -> Any:
        """The first answer of the right type among several places, None when there is none."""
        wanted = _TYPES.get(name, str)
        for value in map(self.value, facts):
            if isinstance(value, str) and wanted is str and value:
                shown = self._client.redactor.text(value)
                return printable(shown, MAX_TEMPLATE) if name == "chat_template" else one_line(shown, 500)
            if wanted is not str and type(value) is wanted:  # not isinstance: true is an int
                return value
        return None

    def value(self, fact: Fact) -> object:
        """The answer in one place, None when there is none."""
        value = value_at(self._answer(fact.route), fact.path, self._served)
        if fact.holds is None or value is None:
            return value
        return fact.holds in value if isinstance(value, list) else value == fact.holds

    def _answer(self, route: str) -> object:
        if route not in self._answers:
            self._answers[route] = self._ask(route)
        return self._answers[route]

    def _ask(self, route: str) -> object:
        timeout_s = min(PROBE_TIMEOUT_S, self._client.timeout_s)
        method, _, path = route.rpartition(" ")
        try:
            if method == "POST":
                return self._client.post(path, {"model": self._served}, timeout_s=timeout_s).data
            return self._client.get(path, root=True, timeout_s=timeout_s).data
        except ServerError:
            return None


def _by_header(backend: Backend) -> bool:
    return backend.confirm is not None and backend.confirm.route == HEADERS


def _served_model(data: object, served: str) -> object:
    """The row of the served model; a single row counts whatever its name, which may be an alias."""
    rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
    named = [row for row in rows if served in (row.get(name) for name in _MODEL_NAME_KEYS)]
    return next(iter(named or (rows if len(rows) == 1 else [])), None)
