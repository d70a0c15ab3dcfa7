"""What an operator sees over HTTP, and what can be changed: the policy in service, and metrics."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

import ttamer_fast as tt
import virtual_loop
from conftest import make_trace
from http_application import TOKEN, asking, bearer

asgi = tt.integrations.asgi

TRACE = make_trace(600, 3)
QUICK, CAREFUL = (tt.fit(TRACE, tradeoff=weight) for weight in (0.6, 0.97))


def looking_up() -> list[tt.Stage[Any, Any]]:
    """Coroutine functions that look up a row of the trace."""
    said = np.asarray(TRACE.prediction)

    def stage(v: int) -> tt.Stage[Any, Any]:
        async def run(row: int) -> tuple[float, int]:
            return float(TRACE.signal[row, v]), int(said[row, v])

        return tt.Stage(run, signal=lambda y: y[0], prediction=lambda y: y[1], name=TRACE.stages[v])

    return [stage(v) for v in range(TRACE.k)]


def prediction(served: tt.Served[Any]) -> Any:
    """What is sent back."""
    assert served.output is not None
    return served.output[1]


def run(cascade: tt.Cascade[Any, Any], do: Callable[[Any], Awaitable[Any]], **options: Any) -> Any:
    """What comes of asking an application."""
    application = asgi.app(cascade, json.loads, prediction, token=TOKEN, **options)

    async def asked() -> Any:
        async with asking(application) as client:
            return await do(client)

    return virtual_loop.run(asked())


def scraped(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_the_policy_page_says_what_serves_and_what_is_known(tmp_path: Path) -> None:
    slot = tt.PolicySlot(QUICK)
    with tt.RecordLog(tmp_path) as log:
        cascade = tt.Cascade(slot, looking_up(), shadow=CAREFUL, record=log, explore=0.5)

        async def do(client: Any) -> tuple[Any, Any]:
            for row in range(40):
                assert (await client.post("/predict", content=str(row))).status_code == 200
            first = await client.get("/policy", headers=bearer())
            slot.swap(CAREFUL)
            return first.json(), (await client.get("/policy", headers=bearer())).json()

        first, second = run(cascade, do)
    assert (first["digest"], first["stages"], first["earlier"]) == (QUICK.digest, list(TRACE.stages), [])
    assert [change["what"] for change in first["changes"]] == ["began"]
    assert first["shadow"]["digest"] == CAREFUL.digest
    assert first["shadow"]["compared"] == 40
    assert 0 < first["exploration"]["explored"] < 40
    assert (second["digest"], second["earlier"]) == (CAREFUL.digest, [QUICK.digest])
    assert [change["what"] for change in second["changes"]] == ["began", "swapped"]


def test_a_policy_is_reloaded_and_rolled_back_while_requests_run(tmp_path: Path) -> None:
    path = tmp_path / "policy.ttamer"
    QUICK.save(path)
    cascade = tt.Cascade(tt.PolicySlot(path), looking_up())

    async def do(client: Any) -> None:
        async def serve(rows: range) -> set[int]:
            answers = await asyncio.gather(*[client.post("/predict", content=str(row)) for row in rows])
            return {answer.status_code for answer in answers}

        CAREFUL.save(path)
        serving = asyncio.create_task(serve(range(200)))
        await asyncio.sleep(0.0)
        reloaded = await client.post("/policy/reload", headers=bearer())
        assert (reloaded.status_code, reloaded.json()) == (200, {"digest": CAREFUL.digest})
        assert await serving == {200}
        back = await client.post("/policy/rollback", headers=bearer())
        assert (back.status_code, back.json()) == (200, {"digest": QUICK.digest})
        again = await client.post("/policy/rollback", headers=bearer())
        assert (again.status_code, again.json()) == (
            409,
            {"error": "`rollback` must follow a swap: there is no earlier policy"},
        )

    run(cascade, do)
    assert cascade.policy == QUICK


@pytest.mark.parametrize("how", ["damaged", "missing", "other stages"])
def test_a_file_that_does_not_fit_changes_nothing(tmp_path: Path, how: str) -> None:
    path = tmp_path / "policy.ttamer"
    QUICK.save(path)
    cascade = tt.Cascade(tt.PolicySlot(path), looking_up())

    async def do(client: Any) -> None:
        if how == "damaged":
            path.write_bytes(path.read_bytes()[:-9])
        elif how == "missing":
            path.unlink()
        else:
            tt.fit(make_trace(600, 4), tradeoff=0.9).save(path)
        answer = await client.post("/policy/reload", headers=bearer())
        assert answer.status_code == 409
        said = answer.json()
        assert said["digest"] == QUICK.digest
        assert str(path) in said["error"]
        assert "\n" not in said["error"]
        assert (await client.post("/predict", content="1")).status_code == 200

    run(cascade, do)


def test_a_policy_without_a_slot_cannot_be_changed() -> None:
    async def do(client: Any) -> None:
        for page in ("reload", "rollback"):
            answer = await client.post(f"/policy/{page}", headers=bearer())
            assert (answer.status_code, answer.json()) == (
                409,
                {"error": "the cascade has a policy, and no slot in which it could be changed"},
            )
            assert (await client.get(f"/policy/{page}", headers=bearer())).status_code == 405

    run(tt.Cascade(QUICK, looking_up()), do)
    slot = tt.PolicySlot(QUICK)

    async def reload(client: Any) -> Any:
        return await client.post("/policy/reload", headers=bearer())

    answer = run(tt.Cascade(slot, looking_up()), reload)
    assert (answer.status_code, answer.json()["error"][:44]) == (409, "`reload` must be of a slot with a file, got ")


def test_a_governed_policy_is_moved_by_its_governor_alone() -> None:
    family = tt.fit_family(TRACE, tradeoffs=[0.6, 0.97])
    governor = tt.BudgetGovernor(family, max_cost=float(family.costs.mean()), window=20.0)

    async def do(client: Any) -> None:
        for row in range(60):
            assert (await client.post("/predict", content=str(row))).status_code == 200
        page = (await client.get("/policy", headers=bearer())).json()
        assert page["governor"]["requests"] == 60
        assert page["digest"] in {one.digest for one in family.policies}
        for action in ("reload", "rollback"):
            answer = await client.post(f"/policy/{action}", headers=bearer())
            assert answer.status_code == 409
            assert list(answer.json()) == ["error"]

    run(tt.Cascade(governor.slot, looking_up()), do)


@pytest.mark.parametrize("page", ["reload", "rollback"])
def test_strangers_change_nothing(page: str) -> None:
    slot = tt.PolicySlot(QUICK)
    slot.swap(CAREFUL)

    async def do(client: Any) -> None:
        for headers in ({}, bearer("a-token-of-somebody-else")):
            answer = await client.post(f"/policy/{page}", headers=headers)
            assert (answer.status_code, answer.json()) == (401, {"error": "unauthorized"})

    run(tt.Cascade(slot, looking_up()), do)
    assert slot.policy == CAREFUL


def test_metrics_add_up_over_two_starts() -> None:
    cascade = tt.Cascade(QUICK, looking_up())

    async def do(client: Any) -> Any:
        await asyncio.gather(*[client.post("/predict", content=str(row)) for row in range(30)])
        await client.post("/predict", content="{")
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        return scraped(answer.text)

    for starts in (1, 2):
        seen = run(cascade, do)
        assert sum(seen["ttamer_requests_total"].values()) == 30 * starts
        assert seen["ttamer_http_responses_total"] == {("200",): 30, ("400",): 1}
        assert seen["ttamer_batcher_wait_seconds_count"][(TRACE.stages[0],)] >= 30
        assert seen["ttamer_policy_info"] == {(QUICK.digest,): 1}


def test_a_registry_of_somebody_else_has_the_metrics_while_the_application_runs() -> None:
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Gauge("other", "Of somebody else.", registry=registry).set(3)

    async def do(client: Any) -> Any:
        return scraped((await client.get("/metrics", headers={"accept": "text/plain"})).text)

    seen = run(tt.Cascade(QUICK, looking_up()), do, registry=registry)
    assert (seen["other"], "ttamer_requests_total" in seen) == ({(): 3}, True)
    assert registry.get_sample_value("ttamer_requests_total", {"outcome": "stopped"}) is None


def test_metrics_that_are_not_wanted_or_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    async def do(client: Any) -> Any:
        assert (await client.post("/predict", content="1")).status_code == 200
        return await client.get("/metrics")

    assert run(tt.Cascade(QUICK, looking_up()), do, metrics=False).json() == {"error": "not found"}
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    answer = run(tt.Cascade(QUICK, looking_up()), do)
    said = 'prometheus_client is not installed: pip install "ttamer_fast[metrics]"'
    assert (answer.status_code, answer.json()) == (404, {"error": said})


def test_without_starlette_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(tt.MissingExtraError, match=r"pip install \"ttamer_fast\[server\]\""):
        asgi.app(tt.Cascade(QUICK, looking_up()), json.loads, repr)


def test_a_registry_that_has_such_metrics_keeps_the_application_from_starting() -> None:
    registry = prometheus_client.CollectorRegistry()
    registration = tt.integrations.prometheus.register(tt.Cascade(QUICK, looking_up()), registry)

    async def do(client: Any) -> Any:
        return await client.get("/v2/health/ready")

    batcher: tt.Batcher[Any, Any] = tt.Batcher(cascade := tt.Cascade(QUICK, looking_up()))
    with pytest.raises(tt.ValidationError, match="`registry` must have no metrics of `namespace` 'ttamer'"):
        run(cascade, do, registry=registry, batcher=batcher)
    with pytest.raises(tt.ValidationError, match="`batcher` must be entered once, and is closed"):
        virtual_loop.run(batcher.__aenter__())
    registration.unregister()
    assert run(cascade, do, registry=registry).status_code == 200
