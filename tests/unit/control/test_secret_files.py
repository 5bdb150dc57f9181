from __future__ import annotations

from pathlib import Path

import pytest

from yunhe.control.secret_files import SecretUnreadable, ensure_secrets, write_private
from yunhe.core.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.make()
    return made


def test_secrets_are_made_once_and_kept(home: Home) -> None:
    first = ensure_secrets(home)
    again = ensure_secrets(home)
    assert (again, again.signing_key.id) == (first, first.signing_key.id)
    assert len(first.pepper) == 32
    for name in ("internal_token", "pepper", "signing_key"):
        assert (home.secrets / name).stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in home.secrets.iterdir()) == ["internal_token", "pepper", "signing_key"]


def test_each_instance_signs_with_a_key_of_its_own(tmp_path: Path) -> None:
    ids = set()
    for name in ("one", "two"):
        home = Home(tmp_path / name)
        home.make()
        ids.add(ensure_secrets(home).signing_key.id)
    assert len(ids) == 2


def test_a_damaged_secret_is_never_replaced_silently(home: Home) -> None:
    (home.secrets / "pepper").write_text("short")
    with pytest.raises(SecretUnreadable):
        ensure_secrets(home)
    assert (home.secrets / "pepper").read_text() == "short"


def test_secrets_do_not_show_in_text(home: Home) -> None:
    secrets = ensure_secrets(home)
    assert secrets.internal_token not in repr(secrets)
    assert secrets.pepper.hex() not in repr(secrets)
    assert (home.secrets / "signing_key").read_text() not in repr(secrets)
    assert "signing_key" not in repr(secrets)


def test_a_private_file_is_replaced_whole(home: Home) -> None:
    path = home.run / "first_start.json"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in home.run.iterdir()] == ["first_start.json"]
