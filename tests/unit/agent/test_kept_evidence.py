"""Evidence is taken from what was kept only for the very same build, numerics, reference and class of use."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from yunhe.adapt.recipe_evidence import FidelityPart, FidelityReference
from yunhe.adapt.recipe_fields import Estimate
from yunhe.agent.tuning.fidelity.kept import EvidenceKey, load_evidence, save_evidence
from yunhe.agent.tuning.fidelity.records import RecordsKey

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
    use_class="chat",
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


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    save_evidence(tmp_path / "new", KEY, EVIDENCE)
    assert load_evidence(tmp_path / "new", KEY) == EVIDENCE


@pytest.mark.parametrize("field", ["build_digest", "numerics", "use_class", "model_sha256"])
def test_anything_else_is_measured_anew(tmp_path: Path, field: str) -> None:
    save_evidence(tmp_path, KEY, EVIDENCE)
    assert load_evidence(tmp_path, msgspec.structs.replace(KEY, **{field: "other"})) is None


def test_other_records_of_the_reference_are_measured_anew(tmp_path: Path) -> None:
    save_evidence(tmp_path, KEY, EVIDENCE)
    records = msgspec.structs.replace(KEY.records, k=20)
    assert load_evidence(tmp_path, msgspec.structs.replace(KEY, records=records)) is None


@pytest.mark.parametrize("damage", [b"", b"{", b'{"key": 1}', b"\xff\xfe"])
def test_a_damaged_file_is_measured_anew(tmp_path: Path, damage: bytes) -> None:
    save_evidence(tmp_path, KEY, EVIDENCE)
    (tmp_path / KEY.file_name).write_bytes(damage)
    assert load_evidence(tmp_path, KEY) is None
