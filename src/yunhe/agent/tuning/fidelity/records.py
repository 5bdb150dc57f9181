"""What a reference said, on disk: it is collected once, and every candidate is compared with it."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np

from yunhe.adapt.recipe_evidence import FidelityReference
from yunhe.agent.tuning.fidelity.collect import TextRecord
from yunhe.agent.tuning.fidelity.generate import Answered

#: Parts of the evidence beside the log-probabilities.
Part = Literal["sequences", "task"]
PARTS: Final[tuple[Part, ...]] = ("sequences", "task")
#: Raised whenever prompts, places or the file change.
RECORDS_VERSION: Final = 1
_META: Final = "meta"


class RecordsKey(msgspec.Struct, frozen=True, kw_only=True):
    """What the records of a reference depend on; equal keys mean comparable records."""

    reference: FidelityReference
    #: Name, version and build of the engine that the reference ran in.
    engine: str
    texts_digest: str
    k: int
    places_per_text: int
    #: Of one slot, tokens: long prompts fill it.
    context_length: int
    parts: tuple[Part, ...]
    version: int = RECORDS_VERSION

    @property
    def file_name(self) -> str:
        """One for each key."""
        return f"reference-{hashlib.sha256(msgspec.json.encode(self)).hexdigest()}.npz"


class ReferenceAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """What the reference generated; empty, or None, where it was not asked or could not."""

    greedy: tuple[Answered, ...] = ()
    short_prompt: tuple[Answered, ...] = ()
    long_prompt: tuple[Answered, ...] = ()
    #: For each item of the task whether its answer was right.
    task: tuple[bool, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceRecords:
    """Everything that a candidate is compared with."""

    key: RecordsKey
    texts: tuple[TextRecord, ...]
    answers: ReferenceAnswers


class _TextMeta(msgspec.Struct):
    text_id: str
    tokens: tuple[int, ...]
    first: int


class _Meta(msgspec.Struct):
    key: RecordsKey
    texts: list[_TextMeta]
    answers: ReferenceAnswers


def save_records(directory: Path, records: ReferenceRecords) -> Path:
    """Write them durably, whole or not at all. Raises OSError."""
    texts = [_TextMeta(record.text_id, record.tokens, record.first) for record in records.texts]
    meta = msgspec.json.encode(_Meta(records.key, texts, records.answers))
    arrays: dict[str, Any] = {_META: np.frombuffer(meta, dtype=np.uint8)}
    for number, record in enumerate(records.texts):
        arrays[f"ids{number}"], arrays[f"logprobs{number}"] = record.ids, record.logprobs
    content = io.BytesIO()
    np.savez(content, **arrays)
    path = directory / records.key.file_name
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    waiting = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with os.fdopen(os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        waiting.rename(path)
    except OSError:
        waiting.unlink(missing_ok=True)
        raise
    return path


def load_records(directory: Path, key: RecordsKey) -> ReferenceRecords | None:
    """The records of this key; None when there are none, or damaged ones."""
    try:
        with (directory / key.file_name).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            meta = msgspec.json.decode(arrays[_META].tobytes(), type=_Meta)
            texts = tuple(
                TextRecord(text.text_id, text.tokens, text.first, arrays[f"ids{number}"], arrays[f"logprobs{number}"])
                for number, text in enumerate(meta.texts)
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.MsgspecError):
        return None
    if meta.key != key or not all(_fits(record, key.k) for record in texts):
        return None
    return ReferenceRecords(key, texts, meta.answers)


def _fits(record: TextRecord, k: int) -> bool:
    shape = (len(record.tokens) - record.first, k)
    return record.ids.shape == shape == record.logprobs.shape and record.ids.dtype == np.int32
