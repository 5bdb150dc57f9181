"""Evidence of fidelity that this centre measured before: the same build with the same numerics need not be asked again.

What was measured depends on the reference's records, the build, and the settings that change what comes out, and on
nothing else; so an adaptation to another workload takes minutes less.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from yunhe.adapt.recipe_evidence import FidelityPart
from yunhe.agent.tuning.fidelity.records import RecordsKey
from yunhe.core.errors import YunheError


class EvidenceKey(msgspec.Struct, frozen=True, kw_only=True):
    """What evidence depends on; equal keys mean that it would come out the same."""

    records: RecordsKey
    #: sha256 over the programs and libraries of the candidate.
    build_digest: str
    numerics: str
    use_class: str
    #: Weights that the candidate ran.
    model_sha256: str

    @property
    def file_name(self) -> str:
        """One for each key."""
        return f"evidence-{hashlib.sha256(msgspec.json.encode(self)).hexdigest()}.json"


class _Kept(msgspec.Struct):
    key: EvidenceKey
    #: JSON text of the part.
    evidence: str


def load_evidence(directory: Path, key: EvidenceKey) -> FidelityPart | None:
    """The evidence of this key; None when there is none, or it is damaged."""
    try:
        kept = msgspec.json.decode((directory / key.file_name).read_bytes(), type=_Kept)
        return msgspec.json.decode(kept.evidence, type=FidelityPart) if kept.key == key else None
    except (OSError, ValueError, YunheError):
        return None


def save_evidence(directory: Path, key: EvidenceKey, evidence: FidelityPart) -> None:
    """Keep it, whole or not at all. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = msgspec.json.encode(_Kept(key, msgspec.json.encode(evidence).decode()))
    waiting = directory / f"{key.file_name}.new"
    waiting.write_bytes(content)
    waiting.rename(directory / key.file_name)
