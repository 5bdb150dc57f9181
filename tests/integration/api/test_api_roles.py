"""Who may do what: one row an operation, one column a kind of caller."""

import httpx
import pytest

CALLERS = ("nobody", "inference key", "read key", "sam", "mia", "olga", "cato", "admin", "manage key")
OK = "ok"
NO_KEY = "0" * 64

#: operation -> statuses by caller in the order of CALLERS; OK is any success, or 404 and 409 of what the body names.
#: `default` is the project of mia (member) and olga (owner); sam owns another; cato operates centres.
RULES: dict[tuple[str, str], tuple[object, ...]] = {
    ("GET", "/me"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("GET", "/status"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("GET", "/organisations"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("POST", "/organisations"): (401, 403, 403, 403, 403, 403, 403, OK, OK),
    ("GET", "/projects"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("POST", "/projects"): (401, 403, 403, 403, 403, 403, 403, OK, OK),
    ("GET", "/projects/default"): (401, 403, OK, 404, OK, OK, 404, OK, OK),
    ("PATCH", "/projects/default"): (401, 403, 403, 404, 403, OK, 404, OK, OK),
    ("POST", "/projects/default/credit"): (401, 403, 403, 403, 403, 403, 403, OK, OK),
    ("GET", "/projects/default/members"): (401, 403, OK, 404, OK, OK, 404, OK, OK),
    ("POST", "/projects/default/members"): (401, 403, 403, 404, 403, OK, 404, OK, OK),
    ("DELETE", "/projects/default/members/mem_none"): (401, 403, 403, 404, 403, OK, 404, OK, OK),
    ("GET", "/users"): (401, 403, 403, 403, 403, 403, 403, OK, OK),
    ("POST", "/users"): (401, 403, 403, 403, 403, 403, 403, OK, OK),
    ("PATCH", "/users/sam"): (401, 403, 403, 403, 403, 403, 403, OK, OK),
    ("GET", "/keys?project=default"): (401, 403, OK, 404, OK, OK, 404, OK, OK),
    ("POST", "/keys"): (401, 403, 403, 404, OK, OK, 404, OK, OK),
    ("GET", "/models"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("GET", "/models/smollm2-135m-instruct"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("POST", "/models"): (401, 403, 403, 403, 403, 403, 403, 400, 400),
    ("POST", "/models/external"): (401, 403, 403, 403, 403, 403, 403, OK, OK),
    ("DELETE", "/models/none"): (401, 403, 403, 403, 403, 403, 403, OK, OK),
    ("GET", "/engines"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("GET", "/deployments?project=default"): (401, 403, OK, 404, OK, OK, 404, OK, OK),
    ("POST", "/deployments"): (401, 403, 403, 404, 403, OK, 404, OK, OK),
    ("GET", "/deployments/smollm2-135m-instruct"): (401, 403, OK, 404, OK, OK, 404, OK, OK),
    ("PATCH", "/deployments/smollm2-135m-instruct"): (401, 403, 403, 404, 403, OK, 404, OK, OK),
    ("POST", "/deployments/smollm2-135m-instruct/restart"): (401, 403, 403, 404, 403, OK, 404, OK, OK),
    ("DELETE", "/deployments/smollm2-135m-instruct"): (401, 403, 403, 404, 403, OK, 404, OK, OK),
    ("GET", "/deployments/smollm2-135m-instruct/rollouts"): (401, 403, OK, 404, OK, OK, 404, OK, OK),
    ("POST", "/deployments/smollm2-135m-instruct/rollouts"): (401, 403, 403, 404, 403, OK, 404, OK, OK),
    ("GET", "/deployments/smollm2-135m-instruct/rollouts/roll_none"): (401, 403, 404, 404, 404, 404, 404, 404, 404),
    ("POST", "/deployments/smollm2-135m-instruct/rollouts/roll_none/abort"): (401, 403, 403, 404, 403, OK, 404, OK, OK),
    ("POST", "/deployments/smollm2-135m-instruct/rollouts/roll_none/promote"): (
        401,
        403,
        403,
        404,
        403,
        OK,
        404,
        OK,
        OK,
    ),
    ("GET", "/replicas"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("GET", "/events"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("GET", "/centres"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("POST", "/centres"): (401, 403, 403, 403, 403, 403, OK, OK, OK),
    ("GET", "/nodes"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("GET", "/cards"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("GET", "/adaptations"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("POST", "/adaptations"): (401, 403, 403, 403, 403, 403, OK, OK, OK),
    ("POST", "/adaptations/adp_none/cancel"): (401, 403, 403, 403, 403, 403, OK, OK, OK),
    ("GET", "/recipes"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("GET", "/recipes/diff?a=rcp_00000000&b=rcp_00000000"): (401, 403, 404, 404, 404, 404, 404, 404, 404),
    ("POST", "/recipes/import"): (401, 403, 403, 403, 403, 403, 400, 400, 400),
    ("POST", "/recipes/rcp_00000000/revoke"): (401, 403, 403, 403, 403, 403, OK, OK, OK),
    ("GET", "/recipe-keys"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("POST", "/recipe-keys"): (401, 403, 403, 403, 403, 403, OK, OK, OK),
    ("DELETE", f"/recipe-keys/{NO_KEY}"): (401, 403, 403, 403, 403, 403, OK, OK, OK),
    ("POST", f"/recipe-keys/{NO_KEY}/revoke"): (401, 403, 403, 403, 403, 403, OK, OK, OK),
    ("GET", "/prices"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
    ("POST", "/prices"): (401, 403, 403, 403, 403, 403, 403, OK, OK),
    ("GET", "/usage?project=default"): (401, 403, OK, 404, OK, OK, 404, OK, OK),
    ("GET", "/usage/records?project=default"): (401, 403, OK, 404, OK, OK, 404, OK, OK),
    ("GET", "/balance?project=default"): (401, 403, OK, 404, OK, OK, 404, OK, OK),
    ("GET", "/ledger/entries?project=default"): (401, 403, OK, 404, OK, OK, 404, OK, OK),
    ("POST", "/ledger/verify"): (401, 403, 403, 403, 403, 403, 403, OK, OK),
    ("GET", "/metrics/live"): (401, 403, OK, OK, OK, OK, OK, OK, OK),
}
BODIES: dict[tuple[str, str], dict[str, object]] = {
    ("POST", "/organisations"): {"name": "acme"},
    ("POST", "/projects"): {"name": "new"},
    ("PATCH", "/projects/default"): {"name": "default"},
    ("POST", "/projects/default/credit"): {"amount_micro": 5, "memo": "gift", "reference": "r1"},
    ("POST", "/projects/default/members"): {"user": "sam", "role": "member"},
    ("POST", "/users"): {"name": "neo", "password": "a long password"},
    ("PATCH", "/users/sam"): {"roles": []},
    ("POST", "/keys"): {"name": "k", "project": "default"},
    ("POST", "/models"): {"path": "/nowhere/model.gguf"},
    ("POST", "/models/external"): {"name": "big", "context_length": 4096},
    ("POST", "/deployments"): {"model": "smollm2-135m-instruct", "name": "second", "replicas": 0, "project": "default"},
    ("PATCH", "/deployments/smollm2-135m-instruct"): {"replicas": 1},
    ("POST", "/deployments/smollm2-135m-instruct/rollouts"): {"recipe": {"settings": {"slots": 8}}},
    ("POST", "/centres"): {"name": "far", "driver": "local"},
    ("POST", "/adaptations"): {"model": "smollm2-135m-instruct", "centre": "local"},
    ("POST", "/recipes/import"): {},
    ("POST", "/recipes/rcp_00000000/revoke"): {"why": "wrong"},
    ("POST", "/recipe-keys"): {"name": "partner", "public_key": "1" * 64},
    ("POST", f"/recipe-keys/{NO_KEY}/revoke"): {"why": "stolen"},
    ("POST", "/prices"): {"model": "smollm2-135m-instruct", "input_micro_per_mtok": 1, "output_micro_per_mtok": 2},
}


@pytest.mark.parametrize(("method", "path"), RULES, ids=[f"{method} {path}" for method, path in RULES])
async def test_each_caller_may_do_what_its_role_allows(
    call: dict[str, httpx.AsyncClient], method: str, path: str
) -> None:
    found = {}
    expected = dict(zip(CALLERS, RULES[method, path], strict=True))
    for caller in CALLERS:
        answer = await call[caller].request(method, path, json=BODIES.get((method, path)))
        status = answer.status_code
        found[caller] = OK if status < 300 or (expected[caller] == OK and status in (404, 409)) else status
    assert found == expected


async def test_every_operation_of_the_document_is_ruled(call: dict[str, httpx.AsyncClient]) -> None:
    document = (await call["nobody"].get("/openapi.json")).json()
    names = {"{project}": "default", "{user}": "sam", "{deployment}": "smollm2-135m-instruct"}
    ruled = {(method, path.partition("?")[0]) for method, path in RULES}
    missing = []
    for template, operations in document["paths"].items():
        path = template.removeprefix("/api/v1")
        for name, value in names.items():
            path = path.replace(name, value)
        missing += [(m.upper(), path) for m in operations if "{" not in path and (m.upper(), path) not in ruled]
    # Sessions and the own password have tests of their own.
    assert sorted(missing) == [("DELETE", "/sessions/current"), ("POST", "/sessions"), ("PUT", "/me/password")]


async def test_a_read_key_sees_only_its_project(call: dict[str, httpx.AsyncClient]) -> None:
    listed = (await call["read key"].get("/projects")).json()["data"]
    assert [project["name"] for project in listed] == ["default"]
    assert (await call["read key"].get("/projects/other")).status_code == 404
    assert (await call["manage key"].get("/projects/other")).status_code == 200
    names = {project["name"] for project in (await call["manage key"].get("/projects")).json()["data"]}
    assert names == {"default", "other"}


async def test_a_refusal_names_the_role_that_it_takes(call: dict[str, httpx.AsyncClient]) -> None:
    error = (await call["mia"].post("/organisations", json={"name": "x"})).json()["error"]
    assert error["code"] == "forbidden"
    assert error["details"] == {"needed_role": "platform_admin"}
    scope = (await call["read key"].post("/keys", json={"name": "x"})).json()["error"]
    assert scope["details"] == {"needed_scope": "manage"}
