"""Evidence is taken from what was kept only where it would come out the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from yunhe.adapt.candidates import Candidate
from yunhe.adapt.fidelity_gate import GATES
from yunhe.adapt.recipe_evidence import FidelityPart, FidelityReference
from yunhe.adapt.recipe_fields import Estimate
from yunhe.agent.tuning.fidelity.kept import EvidenceKey, load_evidence, save_evidence
from yunhe.agent.tuning.fidelity.records import RecordsKey
from yunhe.agent.tuning.judging import Judge

REFERENCE = FidelityReference(name="m", digest="a" * 64, precision="f16")
KEY = EvidenceKey(
    records=RecordsKey(
        reference=REFERENCE,
        engine="e 1",
        texts_digest="b" * 64,
        k=300,
        places_per_text=114,
        context_length=2048,
        parts=("task",),
    ),
    build_digest="c" * 64,
    numerics="e 1 kv_type=f16",
    gate=GATES["chat"],
    model_sha256="d" * 64,
)
EVIDENCE = FidelityPart(
    reference=REFERENCE,
    use_class="chat",
    verdict="passed",
    reasons=("KL 0.003",),
    unmeasured=(),
    positions=2052,
    kl_nats=Estimate(value=0.003, interval=None),
    top1_share=Estimate(value=0.96, interval=None),
    perplexity_ratio=Estimate(value=1.0, interval=None),
    greedy_agreement_tokens=None,
    task=None,
    text_digests={"t": "e" * 64},
)


CANDIDATE = Candidate("c", "e", {}, KEY.numerics)


class CountingJudge(Judge):
    """A judge whose measurements are counted instead of made."""

    def __init__(self, directory: Path, *, only: object = None, use_class: str = "chat") -> None:
        weights = SimpleNamespace(sha256=KEY.model_sha256)
        spec = SimpleNamespace(only=only, use_class=use_class)
        order: Any = SimpleNamespace(spec=spec, model=SimpleNamespace(weights=weights))
        unused: Any = None
        super().__init__(unused, order, unused, directory, directory)
        self.measured = 0

    async def _reference(self) -> Any:
        return SimpleNamespace(key=KEY.records)

    async def _measure(self, candidate: Candidate, running: Any, reference: Any) -> FidelityPart:
        self.measured += 1
        return EVIDENCE


def running(pid: int | None = 1) -> Any:
    return SimpleNamespace(pid=pid)


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    save_evidence(tmp_path / "new", KEY, EVIDENCE)
    assert load_evidence(tmp_path / "new", KEY) == EVIDENCE


@pytest.mark.parametrize("field", ["build_digest", "numerics", "model_sha256"])
def test_anything_else_is_measured_anew(tmp_path: Path, field: str) -> None:
    save_evidence(tmp_path, KEY, EVIDENCE)
    assert load_evidence(tmp_path, msgspec.structs.replace(KEY, **{field: "other"})) is None


def test_other_records_of_the_reference_are_measured_anew(tmp_path: Path) -> None:
    save_evidence(tmp_path, KEY, EVIDENCE)
    records = msgspec.structs.replace(KEY.records, k=20)
    assert load_evidence(tmp_path, msgspec.structs.replace(KEY, records=records)) is None


def test_a_gate_whose_thresholds_changed_gives_a_verdict_of_its_own(tmp_path: Path) -> None:
    save_evidence(tmp_path, KEY, EVIDENCE)
    stricter = dataclasses.replace(GATES["chat"], kl_max=0.001)
    assert load_evidence(tmp_path, msgspec.structs.replace(KEY, gate=stricter)) is None


@pytest.mark.parametrize("damage", [b"", b"{", b'{"key": 1}', b"\xff\xfe"])
def test_a_damaged_file_is_measured_anew(tmp_path: Path, damage: bytes) -> None:
    save_evidence(tmp_path, KEY, EVIDENCE)
    (tmp_path / KEY.file_name).write_bytes(damage)
    assert load_evidence(tmp_path, KEY) is None


@pytest.mark.parametrize(
    ("verdict", "unmeasured", "kept"),
    [
        ("passed", (), True),
        ("passed", ("the task was not measured",), False),
        ("failed", ("the task was not measured",), True),
        ("insufficient", (), False),
    ],
)
def test_only_what_is_final_is_kept(tmp_path: Path, verdict: Any, unmeasured: tuple[str, ...], kept: bool) -> None:
    found = msgspec.structs.replace(EVIDENCE, verdict=verdict, unmeasured=unmeasured)
    save_evidence(tmp_path, KEY, found)
    assert load_evidence(tmp_path, KEY) == (found if kept else None)


def test_a_disk_that_takes_nothing_does_not_end_the_adaptation(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    save_evidence(tmp_path / "file", KEY, EVIDENCE)
    assert load_evidence(tmp_path / "file", KEY) is None


async def test_the_next_adaptation_measures_only_what_is_new(tmp_path: Path) -> None:
    first, second = CountingJudge(tmp_path), CountingJudge(tmp_path)
    for judge in (first, second):
        assert await judge.judge(CANDIDATE, running(), "c" * 64) == EVIDENCE
    assert (first.measured, second.measured) == (1, 0)
    await second.judge(CANDIDATE, running(), "d" * 64)
    assert second.measured == 1
    other_use = CountingJudge(tmp_path, use_class="exact")
    await other_use.judge(CANDIDATE, running(), "c" * 64)
    assert other_use.measured == 1


async def test_who_verifies_a_recipe_measures(tmp_path: Path) -> None:
    await CountingJudge(tmp_path).judge(CANDIDATE, running(), "c" * 64)
    verifier = CountingJudge(tmp_path, only=object())
    await verifier.judge(CANDIDATE, running(), "c" * 64)
    assert verifier.measured == 1


async def test_a_server_that_was_there_already_is_measured_each_time(tmp_path: Path) -> None:
    judge = CountingJudge(tmp_path)
    for _ in range(2):
        await judge.judge(CANDIDATE, running(pid=None), "c" * 64)
    assert judge.measured == 2
