"""Flag > environment > project file > user file > default, and which one it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from yunhe.launcher.config import resolve
from yunhe.launcher.errors import BadConfig


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOME", "PORT", "HOST", "WORKERS", "DATABASE_URL", "URL", "TIMEOUT_S"):
        monkeypatch.delenv(f"YUNHE_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def user_says(place: Path, text: str) -> None:
    (place / "config" / "yunhe").mkdir(parents=True)
    (place / "config" / "yunhe" / "config.toml").write_text(text)


def test_defaults_need_no_file() -> None:
    resolved = resolve()
    assert (resolved.settings.host, resolved.settings.port, resolved.settings.workers) == ("127.0.0.1", 8420, 2)
    assert set(resolved.origins.values()) == {"default"}


def test_nearest_source_wins_value_by_value(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_says(place, "port = 1\nworkers = 3\ntimeout_s = 60\nlog_files_max = 5\n")
    (place / "yunhe.toml").write_text("port = 2\nworkers = 4\ntimeout_s = 70\n")
    monkeypatch.setenv("YUNHE_WORKERS", "5")
    monkeypatch.setenv("YUNHE_TIMEOUT_S", "80")
    resolved = resolve({"timeout_s": 90.0, "host": None})
    settings = resolved.settings
    assert (settings.timeout_s, settings.workers, settings.port, settings.log_files_max) == (90.0, 5, 2, 5)
    assert resolved.origins["timeout_s"] == "flag --timeout"
    assert resolved.origins["workers"] == "environment YUNHE_WORKERS"
    assert resolved.origins["port"] == "yunhe.toml"
    assert resolved.origins["log_files_max"].endswith("config/yunhe/config.toml")
    assert resolved.origins["host"] == "default"


def test_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YUNHE_PORT", "")
    assert resolve().settings.port == 8420


def test_home_becomes_absolute(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YUNHE_HOME", "here")
    assert resolve().settings.home == place / "here"


def test_bad_value_names_its_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YUNHE_PORT", "70000")
    with pytest.raises(BadConfig, match=r"port \(environment YUNHE_PORT\)"):
        resolve()


def test_unknown_name_is_refused_where_it_stands(place: Path) -> None:
    (place / "yunhe.toml").write_text("prot = 8420\n")
    with pytest.raises(BadConfig, match=r"prot \(yunhe.toml\)"):
        resolve()


def test_broken_file_is_named(place: Path) -> None:
    user_says(place, "port =\n")
    with pytest.raises(BadConfig, match=r"config.toml cannot be read"):
        resolve()


def test_password_of_the_database_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YUNHE_DATABASE_URL", "postgresql://u:hunter2@h/d")
    settings = resolve().settings
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.model_dump(mode="json"))
