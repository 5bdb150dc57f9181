"""Reads the directory of a Hugging Face model: headers and small files only, all bounded; and takes it in."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from yunhe.catalogue.errors import BadModelConfig, BadWeights
from yunhe.catalogue.header import WeightsFacts
from yunhe.catalogue.hf_model import Beside, config_of, facts_of_config, facts_of_weights
from yunhe.catalogue.safetensors import LENGTH_BYTES, TensorTotals, header_length, totals_of
from yunhe.control.weights import link_or_copy
from yunhe.core.units import MIB

CONFIG: Final = "config.json"
#: Beside the files that were taken in: their names, sizes and digests. Its own digest is the model's.
LIST_NAME: Final = "yunhe-weights.json"
_INDEX: Final = "model.safetensors.index.json"
_TEXT_BYTES_MAX: Final = 64 * MIB
_FILES_MAX: Final = 4096
_TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
#: What engines read besides tensors.
_TAKEN: Final = (".json", ".model", ".txt", ".jinja", ".tiktoken", ".py")
_PART: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{3,6})-of-(?P<count>\d{3,6})\.safetensors")
_CACHED: Final = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")


@dataclass(frozen=True, slots=True)
class FolderModel:
    """What a directory holds."""

    facts: WeightsFacts
    #: Name of the model as far as the place says it.
    stem: str
    #: Files to take in; none for a configuration alone.
    files: tuple[Path, ...]
    weights_bytes: int | None


def is_hf_path(path: Path) -> bool:
    """Whether the path is that of a directory or of a config.json."""
    try:
        return path.name == CONFIG or path.is_dir()
    except OSError:
        return False


def read_model(path: Path) -> FolderModel:
    """A directory with a config.json and perhaps weights, or a config.json alone. Blocks.

    Raises BadWeights, BadModelConfig, UnknownModelType with what is wrong and the next step.
    """
    try:
        return _read(path)
    except PermissionError as error:
        raise BadWeights(
            f"{error.filename} cannot be read by the server's user",
            next_step="Let that user read the directory and its files, then add it again.",
        ) from None
    except (OSError, ValueError) as error:
        raise BadWeights(f"{path} cannot be read: {error}") from None


def _read(path: Path) -> FolderModel:
    folder = path if path.is_dir() else path.parent
    if not (folder / CONFIG).is_file():
        raise _no_config(path, folder)
    config = config_of(_text(folder / CONFIG))
    stem = _stem(folder, config)
    tensor_files = _tensor_files(folder) if path.is_dir() else ()
    beside = Beside(
        tokenizer_config=_text(folder / "tokenizer_config.json", absent=""),
        template=_text(folder / "chat_template.jinja", absent=""),
        card=_text(folder / "README.md", absent="", broken="replace"),
        pooled=(folder / "modules.json").is_file(),
    )
    if not tensor_files:
        return FolderModel(facts_of_config(config, stem, beside), stem, (), None)
    totals = TensorTotals()
    for file in tensor_files:
        totals.add(read_header(file))
    if not any((folder / name).is_file() for name in _TOKENIZERS) and not list(folder.glob("*.tiktoken")):
        raise BadWeights(
            f"{folder.name} holds no tokenizer",
            next_step=f"Download the tokenizer's files into it too ({_TOKENIZERS[0]} ...), then add it again.",
        )
    facts = facts_of_weights(config, stem, beside, totals)
    others = [
        one for one in sorted(folder.iterdir()) if one.suffix in _TAKEN and one.name != LIST_NAME and one.is_file()
    ]
    if len(others) > _FILES_MAX:
        raise BadWeights(f"{folder.name} holds {len(others)} files besides the weights, at most {_FILES_MAX} are taken")
    return FolderModel(facts, stem, (*tensor_files, *others), totals.bytes)


def read_header(file: Path) -> TensorTotals:
    """The tensors of one safetensors file; only its header is read. Raises BadWeights, OSError."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        try:
            length = header_length(opened.read(LENGTH_BYTES), size)
            return totals_of(opened.read(length), size - LENGTH_BYTES - length)
        except BadWeights as error:
            raise BadWeights(f"{file.name}: {error.message}", next_step=error.next_step) from None


def take_in_folder(files: Iterable[Path], directory: Path) -> tuple[Path, str]:
    """Link or copy files into a directory of their own below ``directory``: (path of their list, its sha256). Blocks.

    As with one file, hard links cost no space, and whoever owns the files must not change them in place afterwards.
    Raises OSError when the directory cannot take them.
    """
    temporary = directory / f".adding-{secrets.token_hex(8)}"
    temporary.mkdir()
    try:
        listed = {}
        for source in files:
            digest, size = link_or_copy(source, temporary / source.name)
            listed[source.name] = {"sha256": digest, "size_bytes": size}
        text = json.dumps({"schema": 1, "files": listed}, indent=1, sort_keys=True) + "\n"
        (temporary / LIST_NAME).write_text(text, encoding="utf-8")
        digest = hashlib.sha256(text.encode()).hexdigest()
        place = directory / digest
        if not place.is_dir():
            temporary.replace(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return place / LIST_NAME, digest


def _tensor_files(folder: Path) -> tuple[Path, ...]:
    """Those that hold the model, all there. Raises BadWeights when some are missing."""
    if (folder / _INDEX).is_file():
        return _indexed(folder, _text(folder / _INDEX))
    if (folder / "model.safetensors").is_file():
        return (folder / "model.safetensors",)
    found = sorted(one for one in folder.glob("*.safetensors") if one.is_file())
    if len(found) > _FILES_MAX:
        raise BadWeights(f"{folder.name} holds {len(found)} safetensors files, at most {_FILES_MAX} are read")
    _check_parts(folder, found)
    if not found and (folder / "pytorch_model.bin").exists() | (folder / "pytorch_model.bin.index.json").exists():
        raise BadWeights(
            f"{folder.name} holds pickled weights (pytorch_model.bin), which may run code when they are read",
            next_step="Convert them to safetensors, then add the directory again.",
        )
    return tuple(found)


def _indexed(folder: Path, text: str) -> tuple[Path, ...]:
    try:
        named = json.loads(text)["weight_map"].values()
        names = sorted(set(named))
        plain = all(
            isinstance(name, str) and name == Path(name).name and name.endswith(".safetensors") for name in names
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        names, plain = [], False
    if not plain or not 0 < len(names) <= _FILES_MAX:
        raise BadWeights(
            f"{_INDEX} is no index of safetensors files",
            next_step=f"Download {_INDEX} again, then add the directory again.",
        )
    _refuse_missing(folder, [name for name in names if not (folder / name).is_file()], len(names))
    return tuple(folder / name for name in names)


def _check_parts(folder: Path, found: list[Path]) -> None:
    """Files that number themselves must all be there."""
    parts = [match for one in found if (match := _PART.fullmatch(one.name))]
    for stem, count in {(part["stem"], part["count"]) for part in parts}:
        there = {int(part["number"]) for part in parts if (part["stem"], part["count"]) == (stem, count)}
        # Some number from 0.
        first = 0 if 0 in there else 1
        wanted = range(first, first + min(int(count), _FILES_MAX))
        width = len(count)
        missing = [f"{stem}-{number:0{width}}-of-{count}.safetensors" for number in wanted if number not in there]
        _refuse_missing(folder, missing, int(count))


def _refuse_missing(folder: Path, missing: list[str], count: int) -> None:
    if missing:
        raise BadWeights(
            f"{folder.name} lacks {len(missing)} of {count} safetensors files: {', '.join(missing[:3])}"
            + (" ..." if len(missing) > 3 else ""),
            next_step=f"Download the missing files. To plan without weights add {folder.name}/{CONFIG} alone.",
        )


def _text(path: Path, absent: str | None = None, broken: str = "strict") -> str:
    """A small file's text; ``absent`` when there is none. Raises BadModelConfig, OSError."""
    if absent is not None and not path.is_file():
        return absent
    if path.stat().st_size > _TEXT_BYTES_MAX:
        raise BadModelConfig(f"{path.name} has more than {_TEXT_BYTES_MAX // MIB} MiB, which is no model's")
    try:
        return path.read_text(encoding="utf-8", errors=broken)
    except UnicodeDecodeError:
        raise BadModelConfig(f"{path.name} is not text in UTF-8") from None


def _stem(folder: Path, config: Mapping[str, Any]) -> str:
    """A model's name from its place: that of the directory, or of the download cache's entry that it lies in."""
    cached = next((found for one in (folder, *folder.parents) if (found := _CACHED.fullmatch(one.name))), None)
    if cached is not None:
        return cached["name"]
    return folder.name or str(config.get("model_type", ""))


def _no_config(path: Path, folder: Path) -> BadWeights:
    if not path.exists():
        return BadWeights(
            f"there is no file or directory {path} on the server's machine",
            next_step="Give the path as the control process sees it.",
        )
    if (folder / "adapter_config.json").is_file():
        return BadWeights(
            f"{folder.name} holds an adapter, not a model", next_step="Merge it into its model, then add that."
        )
    if (folder / "model_index.json").is_file():
        return BadWeights(f"{folder.name} holds a diffusion pipeline", next_step="Add a language model.")
    quantised = next(iter(sorted(folder.glob("*.gguf"))), None)
    step = "Give a directory with the model's config.json, or the path of a GGUF file."
    if quantised is not None:
        step = f"Give the path of the GGUF file: {folder.name}/{quantised.name}."
    return BadWeights(f"{folder.name} holds no config.json", next_step=step)
