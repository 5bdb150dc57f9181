"""Texts below are constructed after the kernel's format; the recorded ones are in tests/conformance/chip_outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from yunhe.drivers.chips.cpu import CpuChip
from yunhe.drivers.chips.cpu import speed_run as run
from yunhe.drivers.chips.cpu.speed import NotMeasured, SpeedKind
from yunhe.pool.model import Card, Measure

INTEL = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu avx avx2 avx512f avx512_bf16 avx512_vnni amx_bf16 amx_tile amx_int8 nonsense
processor\t: 1
MemTotal:       16384 kB
"""
KUNPENG = """processor\t: 0
BogoMIPS\t: 200.00
Features\t: fp asimd evtstrm asimddp sve
CPU implementer\t: 0x48
CPU part\t: 0xd01

MemTotal:       1024 kB
"""


def parse(text: str, exit_code: int = 0) -> Card:
    (card,) = CpuChip().parse(text, "", exit_code)
    return card


def test_an_intel_cpu_is_one_card_with_its_features() -> None:
    card = parse(INTEL)
    assert (card.chip, card.maker, card.cores, card.memory_bytes) == (
        "cpu-intel-xeon-platinum-8481c",
        "intel",
        2,
        16384 * 1024,
    )
    assert {"avx512_bf16", "amx_int8", "amx_bf16"} <= set(card.features)
    assert "nonsense" not in card.features


def test_an_arm_cpu_without_a_model_name_is_called_by_maker_and_part() -> None:
    card = parse(KUNPENG)
    assert (card.maker, card.chip) == ("huawei", "cpu-huawei-part-0xd01")
    assert {"asimd", "asimddp", "sve"} <= set(card.features)


def test_a_model_name_without_a_number_gets_the_family() -> None:
    text = "processor: 0\nvendor_id: AuthenticAMD\ncpu family: 25\nmodel: 17\nmodel name: AMD EPYC\nMemTotal: 1 kB\n"
    assert parse(text).chip == "cpu-amd-epyc-25-17"


def test_the_card_is_known_again_by_the_machine_id_whatever_the_host_is_called() -> None:
    first, second = (parse(INTEL + "0123456789abcdef0123456789abcdef\n" + host) for host in ("a\n", "b\n"))
    assert first.uid == second.uid
    assert first.uid != parse(INTEL + "ffffffffffffffffffffffffffffffff\na\n").uid
    assert "0123456789abcdef" not in first.uid


def test_without_a_machine_id_the_host_name_tells_cards_apart() -> None:
    assert parse(INTEL + "host-a\n", 1).uid != parse(INTEL + "host-b\n", 1).uid
    assert parse(INTEL + "uninitialized\nhost-a\n").uid == parse(INTEL + "host-a\n", 1).uid


def test_health_is_unknown_when_the_memory_is() -> None:
    card = parse(INTEL.replace("MemTotal", "Other"))
    assert (card.memory_bytes, card.health) == (None, "unknown")


def test_speeds_measured_before_are_not_measured_again(tmp_path: Path) -> None:
    card = parse(INTEL)
    speeds = {"matmul_f32": Measure(1.0, "flop_per_s", "measured")}
    (tmp_path / f"{card.chip}-{card.cores}.json").write_bytes(msgspec.json.encode(speeds))
    assert CpuChip().measure(card, tmp_path).speeds == speeds


def test_the_best_run_counts_and_tells_its_share_of_the_cores() -> None:
    rate = run.best_rate(1000.0, 1, lambda: sum(range(20_000)))
    assert rate.value > 0
    assert 0 <= rate.share <= 1.5


@pytest.mark.parametrize("kind", ["bf16", "int8"])
def test_the_dot_product_loop_jumps_back_to_its_beginning(kind: str) -> None:
    code = run.dot_loop(kind)
    assert len(code) == run.ACCUMULATORS * 6 + 3 + 2 + 3 + 1
    jump = code.index(b"\x75")
    assert jump + 2 + int.from_bytes(code[jump + 1 : jump + 2], "big", signed=True) == 0
    assert code.endswith(b"\xc3")


def test_a_calibration_reads_at_six_working_sets_and_computes_only_in_formats_that_the_processor_has() -> None:
    intel = CpuChip().calibration_kinds(parse(INTEL))
    sizes = [kind.working_set_bytes for kind in intel if kind.working_set_bytes]
    assert len(sizes) == 6 and sizes == sorted(set(sizes))
    peaks = [kind.name for kind in intel if kind.working_set_bytes is None]
    assert peaks == ["matmul_f32", "dot_bf16_avx512", "dot_int8_avx512"]
    arm = CpuChip().calibration_kinds(parse(KUNPENG))
    assert [kind.name for kind in arm if kind.working_set_bytes is None] == ["matmul_f32"]


def test_reading_is_measured_in_a_child_and_an_unknown_kind_is_told_as_not_measured() -> None:
    card = replace(parse(INTEL), cores=1)
    smallest = CpuChip().calibration_kinds(card)[0]
    speed = CpuChip().calibrate(card, smallest)
    # No memory is as slow as a disk, and none as fast as a register file.
    assert 1e8 < speed.value < 1e13
    assert 0 < speed.share < 1.2
    with pytest.raises(NotMeasured):
        CpuChip().calibrate(card, SpeedKind("read_bandwidth_no", "bytes_per_s"))
