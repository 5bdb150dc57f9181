"""Models, deployments, the pool, status and live metrics, as the API shows them."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from yunhe.core.ids import new_id, uuid7_hex
from yunhe.serve.model import Event
from yunhe.serve.snapshot import WorkerStats
from yunhe.store import serve

Call = dict[str, httpx.AsyncClient]
MODEL = "smollm2-135m-instruct"


async def test_the_seeded_model_tells_what_it_is(call: Call) -> None:
    model = (await call["mia"].get(f"/models/{MODEL}")).json()
    assert model["architecture"] == "llama"
    assert model["sha256"] == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert model["deployments"] == [MODEL]
    assert model["price"]["input_micro_per_mtok"] == 100_000
    assert [m["name"] for m in (await call["mia"].get("/models")).json()["data"]] == [MODEL]


async def test_a_model_with_slashes_in_its_name_comes_and_goes(call: Call) -> None:
    made = await call["admin"].post("/models/external", json={"name": "acme/big-1", "context_length": 4096})
    assert made.status_code == 201
    assert made.json()["capabilities"] == ["chat", "completions"]
    for path in ("/models/acme/big-1", "/models/acme%2Fbig-1"):
        assert (await call["mia"].get(path)).json()["name"] == "acme/big-1"
    assert (await call["admin"].delete("/models/acme/big-1")).status_code == 204
    assert (await call["mia"].get("/models/acme/big-1")).status_code == 404
    in_use = await call["admin"].delete(f"/models/{MODEL}")
    assert in_use.status_code == 409


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not weights at all" * 100])
async def test_bad_weights_say_what_is_wrong_with_them(call: Call, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    answer = await call["admin"].post("/models", json={"path": str(file)})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_weights"


async def test_a_configuration_alone_can_be_planned_and_not_deployed(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    sizes = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 4, "num_attention_heads": 8}
    file.write_text(json.dumps({"model_type": "qwen3", "vocab_size": 1000, "max_position_embeddings": 2048, **sizes}))
    made = await call["admin"].post("/models", json={"path": str(file), "name": "planned"})
    assert made.status_code == 201
    model = made.json()
    assert (model["location"], model["sha256"], model["size_bytes"]) == ("none", None, None)
    assert model["structure"]["attention"][0]["heads"] == 8
    assert (await call["mia"].get("/models/planned")).json() == model
    refused = await call["olga"].post("/deployments", json={"model": "planned"})
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert error["code"] == "no_weights"
    assert error["message"].startswith("no weights of planned are here")
    assert "yunhe model add DIRECTORY" in error["next_step"]
    adapted = await call["admin"].post("/adaptations", json={"model": "planned", "centre": "local"})
    assert adapted.json()["error"]["code"] == "no_weights"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", "bad_model_config"),
        ('{"model_type": "llama"}', "bad_model_config"),
        ('{"model_type": "x"}', "unknown_model_type"),
    ],
)
async def test_bad_configurations_say_what_is_wrong_with_them(
    call: Call, tmp_path: Path, content: str, code: str
) -> None:
    file = tmp_path / "config.json"
    file.write_text(content)
    answer = await call["admin"].post("/models", json={"path": str(file)})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["next_step"]


async def test_a_deployment_lives(call: Call) -> None:
    body = {"model": MODEL, "name": "mine", "replicas": 2, "settings": {"context_length": 2048}}
    made = await call["olga"].post("/deployments", json=body)
    assert made.status_code == 201
    deployment = made.json()
    assert (deployment["replicas"], deployment["ready_replicas"], deployment["external"]) == (2, 0, None)
    assert deployment["recipe"]["settings"] == {"context_length": 2048}
    assert (await call["mia"].get("/deployments/mine")).json()["id"] == deployment["id"]
    taken = await call["olga"].post("/deployments", json=body)
    assert taken.status_code == 409
    scaled = await call["olga"].patch("/deployments/mine", json={"replicas": 0})
    assert scaled.json()["replicas"] == 0
    restarted = await call["olga"].post("/deployments/mine/restart")
    assert restarted.status_code == 202
    assert restarted.json()["generation"] == deployment["generation"] + 1
    deleted = await call["olga"].delete(f"/deployments/{deployment['id']}")
    assert deleted.status_code == 202
    unknown = await call["olga"].post("/deployments", json={"model": "none"})
    assert unknown.status_code == 404


async def test_the_key_of_an_external_server_is_never_shown(call: Call) -> None:
    await call["admin"].post("/models/external", json={"name": "far", "context_length": 4096})
    external = {"base_url": "http://10.0.0.9:8000", "api_key": "sk-very-secret", "tokens_per_s": 100.0}
    refused = await call["olga"].post("/deployments", json={"model": "far", "external": external})
    assert refused.status_code == 403
    made = await call["admin"].post("/deployments", json={"model": "far", "external": external, "project": "default"})
    assert made.status_code == 201
    assert made.json()["external"] == {
        "base_url": "http://10.0.0.9:8000", "upstream_model": "far", "slots": 8, "tokens_per_s": 100.0,
    }  # fmt: skip
    assert "sk-very-secret" not in made.text
    assert "sk-very-secret" not in (await call["olga"].get("/deployments")).text


@pytest.mark.parametrize(
    "field",
    [
        {"replicas": -1}, {"replicas": 65}, {"replicas": True}, {"replicas": 1.5}, {"replicas": 2**70},
        {"name": "../x"}, {"name": ""}, {"settings": {"a": None}}, {"settings": {"a": [1]}}, {"settings": []},
        {"settings": {"x" * 65: 1}}, {"external": {"base_url": "ftp://x"}}, {"external": {"base_url": "http://u:p@x"}},
        {"model": "UPPER"}, {"model": "a//b"}, {"centre": "nul\x00"}, {"surplus": 1},
    ],
)  # fmt: skip
async def test_senseless_deployments_are_refused_by_field(call: Call, field: dict[str, Any]) -> None:
    answer = await call["olga"].post("/deployments", json={"model": MODEL, "name": "x"} | field)
    assert answer.status_code == 400
    assert answer.json()["error"]["details"]["fields"]


async def test_a_centre_is_made_with_a_token_shown_once(call: Call) -> None:
    made = await call["cato"].post("/centres", json={"name": "zhengzhou", "driver": "local"})
    assert made.status_code == 201
    assert made.json()["join_token"].startswith("yj_")
    assert made.json()["state"] == "never_joined"
    listed = await call["mia"].get("/centres")
    assert {centre["name"] for centre in listed.json()["data"]} == {"local", "zhengzhou"}
    assert "join_token" not in listed.text
    assert (await call["cato"].post("/centres", json={"name": "local", "driver": "local"})).status_code == 409


@pytest.mark.parametrize("path", ["/nodes", "/cards", "/engines", "/replicas"])
async def test_what_no_agent_told_of_is_an_empty_list(call: Call, path: str) -> None:
    assert (await call["mia"].get(path)).json() == {"data": [], "next": None}


async def test_logs_of_an_unknown_replica_are_not_found(call: Call) -> None:
    assert (await call["olga"].get(f"/replicas/{new_id('rep')}/logs")).status_code == 404


async def test_events_of_other_projects_are_not_told(world: Any, call: Call) -> None:
    made = await call["sam"].post("/deployments", json={"model": MODEL, "name": "sams", "replicas": 0})
    secret_id = made.json()["id"]
    now = world.clock.unix_s()
    async with world.state.db.write() as tx:
        centre_event = Event(new_id("evt"), now, "centre", "centre_x", "centre_away", "nothing heard")
        await serve.add_events(tx, [centre_event])
    for caller, sees in (("sam", True), ("admin", True), ("mia", False), ("read key", False)):
        events = (await call[caller].get("/events")).json()["data"]
        assert (secret_id in {event["subject_id"] for event in events}) is sees, caller
        assert centre_event.id in {event["id"] for event in events}
    assert (await call["mia"].get("/events", params={"subject": secret_id})).json()["data"] == []


async def test_events_come_in_pages_newest_first(world: Any, call: Call) -> None:
    async with world.state.db.write() as tx:
        for number in range(5):
            # Ids made within one millisecond have no order among them.
            event_id = f"evt_{uuid7_hex(1_790_000_000_000 + number, bytes(10))}"
            await serve.add_events(tx, [Event(event_id, 0.0, "centre", "c1", "centre_away", str(number))])
    for caller in ("admin", "mia"):
        reasons, cursor = [], None
        for _ in range(5):
            params = {"limit": 2, "subject": "c1"} | ({"after": cursor} if cursor else {})
            page = (await call[caller].get("/events", params=params)).json()
            reasons += [event["reason"] for event in page["data"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert reasons == ["4", "3", "2", "1", "0"]


async def test_status_names_every_part_that_is_not_well(call: Call) -> None:
    status = (await call["mia"].get("/status")).json()
    assert {part["kind"] for part in status["parts"]} >= {"control", "database"}
    assert status["healthy"] is False
    assert all(part["next_step"] for part in status["parts"] if part["state"] != "ok")


async def test_live_metrics_are_what_workers_reported(world: Any, call: Call) -> None:
    empty = (await call["mia"].get("/metrics/live")).json()
    assert (empty["workers"], empty["requests_per_s"]) == (0, None)
    now = world.clock.unix_s()
    stats = WorkerStats("0", 1, now, 1.0, 4, 0, 40, 80, 2, 12.0, 30.0, 200.0, 400.0, 0, 1, {MODEL: 4})
    world.state.stats.add(stats, now)
    live = (await call["mia"].get("/metrics/live", params={"window_s": 60})).json()
    assert (live["workers"], live["in_flight"], live["requests_per_s"]) == (1, 2, 4.0)
    assert live["models"] == [{"model": MODEL, "requests_per_s": 4.0}]
    assert len(live["series"]) == 60
