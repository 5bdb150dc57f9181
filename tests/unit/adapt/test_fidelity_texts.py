import hashlib
import shutil
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from yunhe.adapt import fidelity_texts
from yunhe.adapt.fidelity_texts import reference_texts, text_classes, texts_digest

FOLDER = Path(fidelity_texts.__file__).parent / "data" / "texts"


def test_there_are_several_texts_of_every_class() -> None:
    count = Counter(text_classes().values())
    assert set(count) == {"prose", "code", "zh", "maths"}
    assert min(count.values()) >= 3
    assert sum(count.values()) >= 12
    assert len(text_classes()) == len(reference_texts())


@pytest.mark.parametrize("text", reference_texts(), ids=lambda text: text.entry.id)
def test_each_text_is_small_licensed_and_the_one_of_its_digest(text: fidelity_texts.ReferenceText) -> None:
    content = (FOLDER / f"{text.entry.id}.txt").read_bytes()
    assert hashlib.sha256(content).hexdigest() == text.entry.sha256
    assert content.decode() == text.text
    assert 1_000 <= len(content) <= 4_096
    assert text.entry.licence in {"public domain", "Apache-2.0"}
    assert len(text.entry.source) > 10
    assert "\r" not in text.text
    assert text.text.endswith("\n")


def test_the_texts_hold_enough_for_the_gate_even_where_a_token_is_long() -> None:
    # Five characters a token is more than any tokenizer in use packs into English; Chinese is denser.
    plain = sum(len(text.text) for text in reference_texts() if text.entry.text_class != "zh")
    assert plain / 5 > 2_000 * 1.5


def test_chinese_texts_are_chinese() -> None:
    for text in reference_texts():
        if text.entry.text_class == "zh":
            letters = [character for character in text.text if not character.isspace()]
            assert sum("一" <= character <= "鿿" for character in letters) / len(letters) > 0.75, text.entry.id


def test_every_file_is_in_the_index_and_no_two_are_alike() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(text_classes())
    digests = [text.entry.sha256 for text in reference_texts()]
    assert len(set(digests)) == len(digests)


def test_the_sets_digest_covers_ids_and_contents() -> None:
    lines = sorted(f"{text.entry.id} {text.entry.sha256}\n" for text in reference_texts())
    assert texts_digest() == hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "texts"
    shutil.copytree(FOLDER, folder)
    monkeypatch.setattr(fidelity_texts, "_FOLDER", folder)
    return folder


def test_a_text_altered_by_one_byte_is_refused(copied: Path) -> None:
    assert len(reference_texts.__wrapped__()) == len(reference_texts())
    path = copied / "prose-river.txt"
    path.write_bytes(path.read_bytes().replace(b"river", b"rivet", 1))
    with pytest.raises(ValueError, match="prose-river"):
        reference_texts.__wrapped__()


def test_an_entry_without_a_source_is_refused(copied: Path) -> None:
    entries = msgspec.json.decode((copied / "index.json").read_bytes())
    del entries[0]["source"]
    (copied / "index.json").write_bytes(msgspec.json.encode(entries))
    with pytest.raises(msgspec.ValidationError, match="source"):
        reference_texts.__wrapped__()


def test_texts_are_read_once() -> None:
    assert reference_texts() is reference_texts()
