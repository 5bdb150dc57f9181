"""The chip catalogue: every value has a source, every name finds one chip, and mistakes are found."""

import csv
from pathlib import Path

import msgspec
import pytest

from yunhe.catalogue import chip_catalogue
from yunhe.catalogue.chips import ChipFile
from yunhe.core.errors import NotFound

PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "data" / "adaptation" / "published_inference.csv"
FILE = b"""{"schema": 1, "maker": "M", "sources": {"a": {"title": "Page", "kind": "maker page", "read_at": "2026-01"}},
"chips": [{"id": "x", "name": "X", "family": "x", "kind": "gpu", "memory_bytes": %b}]}"""
GOOD = b'{"value": 64e9, "sources": ["a"], "confidence": "unsure"}'


def test_many_chips_of_many_makers() -> None:
    assert len(chip_catalogue.chips()) >= 40
    assert len(chip_catalogue.makers()) >= 12


def test_no_file_breaks_a_rule() -> None:
    assert [problem for file in chip_catalogue.load().values() for problem in chip_catalogue.problems(file)] == []
    assert chip_catalogue.name_clashes() == []


@pytest.mark.parametrize("broken", [b'{"value": 64e9, "confidence": "unsure"}', b"64e9", b'{"value": 0}'])
def test_a_value_without_its_source_cannot_be_read(broken: bytes) -> None:
    assert msgspec.json.decode(FILE % GOOD, type=ChipFile)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(FILE % broken, type=ChipFile)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (b'{"value": 64e9, "sources": ["b"], "confidence": "unsure"}', "no source 'b'"),
        (b'{"value": 64e9, "sources": ["a"], "confidence": "confirmed"}', "needs two sources"),
        (b'{"value": 64, "sources": ["a"], "confidence": "unsure"}', "is the unit right"),
    ],
)
def test_mistakes_are_found(value: bytes, word: str) -> None:
    found = chip_catalogue.problems(msgspec.json.decode(FILE % value, type=ChipFile))
    assert any(word in problem for problem in found)
    assert chip_catalogue.problems(msgspec.json.decode(FILE % GOOD, type=ChipFile)) == []


def test_names_find_chips_whatever_their_case_and_unknown_ones_say_what_is_near() -> None:
    assert chip_catalogue.find("nvidia h100 80gb").id == chip_catalogue.find("H100-SXM").id == "h100-sxm"
    with pytest.raises(NotFound) as caught:
        chip_catalogue.find("h100-sxn")
    assert "h100-sxm" in caught.value.next_step


def test_two_formats_of_sixteen_bits_are_not_the_same_everywhere() -> None:
    peaks = chip_catalogue.find("ascend-910a").peak_flops
    assert "fp16" in peaks
    assert "bf16" not in peaks


def test_differences_are_ratios() -> None:
    found = {
        one.field: one for one in chip_catalogue.diff(chip_catalogue.find("h100-sxm"), chip_catalogue.find("h200-sxm"))
    }
    assert found["memory_bandwidth_bytes_per_s"].ratio == pytest.approx(4.8 / 3.35)
    assert found["peak_flops.bf16"].ratio == 1
    unknown = chip_catalogue.diff(chip_catalogue.find("kunlun-p800"), chip_catalogue.find("h20"))
    assert any(one.first is None and one.ratio is None for one in unknown)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the folder of published results is not beside this checkout")
def test_published_results_name_known_chips() -> None:
    with PUBLISHED.open() as file:
        names = {row["chip"] for row in csv.DictReader(file)}
    mixed = {name for name in names if "), " in name} | {"Ascend"}
    for name in names - mixed:
        assert chip_catalogue.find(name).id
