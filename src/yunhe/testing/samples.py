"""Sample records for tests: complete, plausible and plainly not real. Change what matters with keyword arguments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from yunhe.catalogue.model import Model, Probe, Recipe, Weights
from yunhe.ledger.model import Price
from yunhe.ledger.usage import UsageRecord
from yunhe.serve.model import Deployment, Replica, ReplicaState
from yunhe.serve.rollout import Rollout, RolloutStage

#: A moment after all of the samples' own times.
NOW: Final = 1_790_000_100.0


def usage_record(request_id: str = "req_1", **changes: Any) -> UsageRecord:
    """A request that was answered: 10 tokens in, 5 out, at the sample price."""
    record = UsageRecord(
        request_id=request_id,
        project_id="proj_sample",
        key_id="key_sample",
        model="sample",
        endpoint="chat.completions",
        stream=False,
        outcome="ok",
        http_status=200,
        prompt_tokens=10,
        cached_tokens=0,
        completion_tokens=5,
        token_source="engine",
        started_at=1_790_000_000.0,
        duration_s=1.5,
        ttft_s=0.25,
        price_id="price_sample",
        lease_id=None,
        replica_id="rep_sample",
        deployment_id="dep_sample",
        served_by="sample; sample; sample; default",
        attempts=1,
        worker="worker-0",
    )
    return replace(record, **changes)


def price(**changes: Any) -> Price:
    """Two credits a million tokens in, six out: the sample usage record costs 50 micro-credits."""
    return replace(Price("price_sample", "sample", 2_000_000, 6_000_000, 1_780_000_000.0), **changes)


def model(name: str = "sample", **changes: Any) -> Model:
    """A catalogue entry without weights behind it."""
    entry = Model(
        id=f"model_{name}",
        name=name,
        architecture="llama",
        parameters=1000,
        quantisation="f16",
        context_length=2048,
        licence="Apache-2.0",
        capabilities=("chat", "completions"),
        weights=Weights("gguf", "00" * 32, 2000, "file:/nowhere/sample.gguf"),
        probe=Probe("One and one is", "two|2"),
        chat_template="{{ messages }}",
        created_at=1_790_000_000.0,
        shape={"layers": 2},
    )
    return replace(entry, **changes)


def recipe(**changes: Any) -> Recipe:
    """A recipe that leaves chip and engine open."""
    return replace(Recipe("recipe_sample", "default", "sample", "any", "any", {"threads": 2, "flash": True}), **changes)


def deployment(number: int = 1, **changes: Any) -> Deployment:
    """A deployment of the sample model."""
    made = Deployment(
        id=f"dep_{number}",
        project_id="proj_sample",
        name=f"sample-{number}",
        model="sample",
        replicas=1,
        recipe=recipe(),
        generation=1,
        created_at=1_790_000_000.0,
    )
    return replace(made, **changes)


def replica(number: int = 1, **changes: Any) -> Replica:
    """A ready replica of the first sample deployment."""
    made = Replica(
        id=f"rep_{number}",
        deployment_id="dep_1",
        model="sample",
        generation=1,
        state=ReplicaState.READY,
        reason="it answered the known prompt",
        recipe=recipe(engine="sample"),
        created_at=1_790_000_000.0,
        state_since=1_790_000_010.0,
        centre_id="centre_1",
        node="host",
        cards=("card-0",),
        chip="cpu-sample",
        url=f"http://127.0.0.1:{1000 + number}",
        upstream_model="sample",
        slots=4,
        tokens_per_s=50.0,
        pid=4321,
        ready_at=1_790_000_010.0,
    )
    return replace(made, **changes)


def rollout(number: int = 1, **changes: Any) -> Rollout:
    """A canary of another recipe, at the first sample deployment."""
    made = Rollout(
        id=f"roll_{number}",
        deployment_id="dep_1",
        recipe=recipe(id="recipe_other", name="other", settings={"threads": 4}),
        recipe_id=None,
        previous=recipe(),
        share=0.2,
        generation=2,
        stage=RolloutStage.CANARY,
        stage_since=1_790_000_020.0,
        reason="asked for",
        created_at=1_790_000_020.0,
    )
    return replace(made, **changes)
