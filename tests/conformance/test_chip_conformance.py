"""What every chip driver owes the agent. Add a driver, with recorded outputs, to DRIVERS."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from yunhe.drivers.chips.cpu import CpuChip
from yunhe.pool.ports import ChipDriver

OUTPUTS = Path(__file__).parent / "chip_outputs"
DRIVERS: list[tuple[ChipDriver, str]] = [(CpuChip(), "cpu-*.txt")]
RECORDED = [(driver, path) for driver, pattern in DRIVERS for path in sorted(OUTPUTS.glob(pattern))]


@pytest.mark.parametrize(("driver", "path"), RECORDED, ids=lambda value: value.stem if isinstance(value, Path) else "")
def test_recorded_outputs_make_well_formed_cards(driver: ChipDriver, path: Path) -> None:
    cards = driver.parse(path.read_text(encoding="utf-8"), "", 0)
    assert cards
    for card in cards:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*[a-z0-9]", card.chip)
        assert card.uid
        assert card.maker
        assert card.model_name
        assert card.memory_bytes != 0
        assert card.cores != 0
        assert not card.simulated
    assert len({card.uid for card in cards}) == len(cards)


@pytest.mark.parametrize("driver", [driver for driver, _ in DRIVERS], ids=lambda driver: driver.maker)
class TestAnyOutput:
    def test_the_probe_command_is_a_plain_argument_list(self, driver: ChipDriver) -> None:
        assert all(isinstance(word, str) and word for word in driver.probe_command())

    @pytest.mark.parametrize("stdout", ["", "\n\n", "no such tool", "a: b\nc: d\n", ":::\n", "\x00\ufffd: 1\n"])
    def test_what_names_no_card_makes_none(self, driver: ChipDriver, stdout: str) -> None:
        assert driver.parse(stdout, "some error", 127) == []

    def test_cut_outputs_never_raise_and_never_claim_health_they_cannot_know(self, driver: ChipDriver) -> None:
        for recorded_by, path in RECORDED:
            if recorded_by is not driver:
                continue
            whole = path.read_text(encoding="utf-8")
            for length in range(0, len(whole), max(1, len(whole) // 60)):
                for card in driver.parse(whole[:length], "", 1):
                    assert card.memory_bytes is not None or card.health != "healthy"
