"""What the server counts while a run is measured."""

from __future__ import annotations

import pytest

from tests.conftest import Run, only_entry
from tests.servers.metrics import vllm
from tests.servers.scripted import Scripted


@pytest.mark.parametrize("arguments", [(), ("--setup-concurrency=2",), ("-n", "2")])
def test_what_vllm_counted_is_recorded(
    run: Run, project: pytest.Pytester, server: Scripted, arguments: tuple[str, ...]
) -> None:
    vllm(server)
    result = run("--record", *arguments)
    result.assert_outcomes(passed=11)
    counters = only_entry(project.path)["performance"]["server_counters"]
    assert counters["reason"] is None
    assert counters["requests_of_others"] == 0
    assert counters["own_requests"] == counters["finished"]["stop"]
    assert counters["finished"]["stop"] >= 9
