"""Evidence of fidelity that this centre measured before: the same build with the same numerics need not be asked again.

What was measured depends on the reference's records, the build, and the settings that change what comes out, and its
verdict on the gate; on nothing else. So an adaptation to another workload takes minutes less.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import msgspec

from yunhe.adapt.fidelity_gate import Gate
from yunhe.adapt.recipe_evidence import FidelityPart
from yunhe.agent import files
from yunhe.agent.tuning.fidelity.records import RecordsKey

_LOG = logging.getLogger(__name__)


class EvidenceKey(msgspec.Struct, frozen=True, kw_only=True):
    """What evidence depends on; equal keys mean that it would come out the same."""

    records: RecordsKey
    #: sha256 over the programs and libraries of the candidate.
    build_digest: str
    numerics: str
    #: With its thresholds: where those change, so may the verdict.
    gate: Gate
    #: Weights that the candidate ran.
    model_sha256: str

    @property
    def file_name(self) -> str:
        """One for each key."""
        return f"evidence-{hashlib.sha256(msgspec.json.encode(self)).hexdigest()}.json"


class _Kept(msgspec.Struct):
    key: EvidenceKey
    evidence: FidelityPart


def load_evidence(directory: Path, key: EvidenceKey) -> FidelityPart | None:
    """The evidence of this key; None when there is none, or it is damaged."""
    kept = files.load(directory / key.file_name, _Kept)
    return kept.evidence if kept is not None and kept.key == key else None


def save_evidence(directory: Path, key: EvidenceKey, evidence: FidelityPart) -> None:
    """Keep what is final: a fault that was found, or everything measured and passed.

    What was not measured this time, on a machine that was too busy say, is to be measured the next time. A disk that
    does not take it costs minutes then, so it is no reason to end an adaptation.
    """
    if evidence.verdict == "insufficient" or (evidence.verdict == "passed" and evidence.unmeasured):
        return
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.save(directory / key.file_name, _Kept(key, evidence))
    except OSError as error:
        _LOG.warning("evidence of fidelity is not kept: %s", error)
