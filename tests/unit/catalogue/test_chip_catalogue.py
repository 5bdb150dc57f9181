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


@pytest.mark.parametrize(
    ("name", "gigabytes_per_s"),
    [
        ("a100-sxm-80g", 300),
        ("h100-sxm", 450),
        ("a800-sxm-80g", 200),
        ("b200-sxm", 900),
        ("mi300x", 448),
        ("mi325x", 448),
    ],
)
def test_links_of_a_card_count_one_direction(name: str, gigabytes_per_s: float) -> None:
    link = chip_catalogue.find(name).scale_up_bytes_per_s
    assert link is not None
    assert link.value == gigabytes_per_s * 1e9


@pytest.mark.parametrize(
    "name", ["a100-sxm-80g", "h100-sxm", "h200-sxm", "b200-sxm", "gb200", "mi300x", "ascend-910c-die"]
)
@pytest.mark.parametrize("field", ["memory_bytes", "memory_bandwidth_bytes_per_s", "peak_flops.bf16"])
def test_what_predictions_use_of_common_chips_has_two_sources(name: str, field: str) -> None:
    assert chip_catalogue.values(chip_catalogue.find(name))[field].confidence == "confirmed"


def test_where_sources_disagree_the_other_reading_stays_visible() -> None:
    value = chip_catalogue.find("b200-sxm").memory_bandwidth_bytes_per_s
    assert value is not None
    assert "7700" in value.note


def test_sources_in_a_public_repository_say_where() -> None:
    sources = {source.title: source for file in chip_catalogue.load().values() for source in file.sources.values()}
    missing = [title for title, one in sources.items() if one.kind.endswith("repository") and not one.url]
    assert missing == []


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
