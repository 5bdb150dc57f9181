"""Fill the shapes in the catalogue's model files from the models' own configurations.

    python tools/make_architectures.py CONFIGS [--check]

CONFIGS is a folder with files named OWNER--MODEL_config.json (Hugging Face config.json as their makers publish them).
In src/yunhe/catalogue/data/models/*.json people write a model's identity (id, name, aliases, sources, published
counts, dtypes, note); this writes everything else about it, so a new model is an entry with its identity only. A model
whose configuration lies under another name says so in ``"config": "OWNER/MODEL"``, which is not kept. Models without
a configuration in the folder stay as they are. Prints what changed and which counts do not agree.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import msgspec

from yunhe.catalogue.architecture import Architecture, ArchitectureFile
from yunhe.catalogue.hf_config import architecture_of
from yunhe.catalogue.parameters import parameter_problems
from yunhe.core.errors import YunheError

MODELS = Path(__file__).resolve().parents[1] / "src/yunhe/catalogue/data/models"
#: Written by people; the rest is read from the configuration.
IDENTITY = ("id", "name", "sources", "parameters", "active_parameters", "published_dtypes", "aliases", "note")


def config_of(entry: dict[str, object], folder: Path) -> dict[str, object] | None:
    """The configuration under the entry's name, or None."""
    name = str(entry.get("config") or entry["name"])
    path = folder / f"{name.replace('/', '--')}_config.json"
    if not path.is_file():
        return None
    loaded: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def filled(entry: dict[str, object], family: str, folder: Path) -> dict[str, object]:
    """The entry with its shape. Raises YunheError when the configuration cannot be read."""
    config = config_of(entry, folder)
    if config is None:
        return entry
    sources = entry["sources"]
    assert isinstance(sources, list)
    shape = architecture_of(config, id=str(entry["id"]), name=str(entry["name"]), sources=tuple(sources))
    identity = {name: entry[name] for name in IDENTITY if name in entry}
    whole = msgspec.convert({**msgspec.to_builtins(shape), **identity, "family": family}, Architecture)
    return sparse(whole)


def sparse(architecture: Architecture) -> dict[str, object]:
    """As a record without what is a default anyway."""
    plain: dict[str, object] = json.loads(msgspec.json.encode(architecture))
    attention = plain["attention"]
    assert isinstance(attention, list)
    plain["attention"] = [
        {name: value for name, value in group.items() if value is not None and (name, value) != ("compression", 1)}
        for group in attention
    ]
    experts = plain.get("experts")
    if isinstance(experts, dict) and experts.get("latent_size") is None:
        experts.pop("latent_size", None)
    empty: tuple[object, ...] = (None, "", [], 0)
    optional = {"parameters", "active_parameters", "published_dtypes", "prediction_layers", "aliases", "note"}
    return {name: value for name, value in plain.items() if name not in optional or value not in empty}


def text_of(file: dict[str, object]) -> str:
    """JSON with one short list or object a line."""
    return json.dumps(file, indent=2, ensure_ascii=False) + "\n"


def renewed(path: Path, folder: Path) -> tuple[str, list[str]]:
    """The file's new text, and sentences on what is wrong with it."""
    file = json.loads(path.read_text(encoding="utf-8"))
    problems = []
    entries = []
    for entry in file["architectures"]:
        try:
            entries.append(filled(entry, path.stem, folder))
        except YunheError as error:
            problems.append(f"{entry.get('id')}: {error.message} ({error.next_step})")
            entries.append(entry)
    file["architectures"] = entries
    text = text_of(file)
    try:
        for architecture in msgspec.json.decode(text, type=ArchitectureFile).architectures:
            problems.extend(parameter_problems(architecture))
    except msgspec.ValidationError as error:
        problems.append(f"{path.name}: {error}")
    return text, problems


def main() -> int:
    """Exit status: 0 when all is well, 1 with problems (or, with --check, when files would change)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    if not arguments.configs.is_dir():
        parser.error(f"{arguments.configs} is not a folder")
    wrong = False
    for path in sorted(MODELS.glob("*.json")):
        text, problems = renewed(path, arguments.configs)
        changed = text != path.read_text(encoding="utf-8")
        if changed:
            print(f"{path.name}: {'would change' if arguments.check else 'written'}")
            if not arguments.check:
                path.write_text(text, encoding="utf-8")
        for problem in problems:
            print(f"  {problem}")
        wrong = wrong or bool(problems) or (changed and arguments.check)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
