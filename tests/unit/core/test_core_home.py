import stat
from pathlib import Path

import pytest

from yunhe.core.clock import ManualClock
from yunhe.core.home import Home, default_home


def test_directories_that_hold_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    home.make()
    for path in (home.secrets, home.run, home.gateway, home.agent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_the_environment_names_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YUNHE_HOME", str(tmp_path / "elsewhere"))
    assert default_home() == tmp_path / "elsewhere"


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(100.0)
    clock.advance(2.5)
    assert (clock.unix_s(), clock.monotonic_s()) == (102.5, 2.5)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
