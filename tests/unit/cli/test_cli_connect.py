"""Which instance, which key: the more explicit wins, and no key goes where it does not belong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from yunhe.cli.connect import Connection, connection
from yunhe.cli.errors import NoInstance
from yunhe.cli.invocation import Invocation


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("YUNHE_URL", "YUNHE_API_KEY", "YUNHE_HOME", "YUNHE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def invocation() -> Iterator[Invocation]:
    made = Invocation()
    with click.Context(click.Command("test"), obj=made):
        yield made


def store(path: Path, url: str, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"base_url": url, "api_key": f"yh_{name}_api", "manage_key": f"yh_{name}_manage"}))


def default_home(place: Path) -> Path:
    return place / ".local" / "share" / "yunhe" / "credentials.json"


def profile(place: Path) -> Path:
    return place / "config" / "yunhe" / "credentials.json"


def keys(found: Connection) -> tuple[str | None, str | None]:
    return found.api_key, found.manage_key


def test_without_anything_the_next_step_is_to_start_or_sign_in(invocation: Invocation) -> None:
    with pytest.raises(NoInstance) as raised:
        connection()
    assert "yunhe up" in raised.value.next_step
    assert "yunhe login" in raised.value.next_step


def test_own_instance_needs_nothing(place: Path, invocation: Invocation) -> None:
    store(default_home(place), "http://127.0.0.1:8420/v1", "own")
    found = connection()
    assert found.url == "http://127.0.0.1:8420/v1"
    assert keys(found) == ("yh_own_api", "yh_own_manage")


def test_sign_in_elsewhere_goes_before_the_default_home_but_not_before_a_named_one(
    place: Path, invocation: Invocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(default_home(place), "http://127.0.0.1:8420/v1", "own")
    store(profile(place), "https://far.example", "far")
    assert connection().url == "https://far.example"
    store(place / "named" / "credentials.json", "http://127.0.0.1:9999/v1", "named")
    monkeypatch.setenv("YUNHE_HOME", str(place / "named"))
    assert connection().url == "http://127.0.0.1:9999/v1"


def test_key_from_flag_or_environment_replaces_the_stored_ones(
    place: Path, invocation: Invocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(default_home(place), "http://127.0.0.1:8420/v1", "own")
    monkeypatch.setenv("YUNHE_API_KEY", "yh_env")
    assert keys(connection()) == ("yh_env", "yh_env")
    invocation.key = "yh_flag"
    assert keys(connection()) == ("yh_flag", "yh_flag")


def test_stored_key_goes_only_to_its_own_address(
    place: Path, invocation: Invocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(profile(place), "https://far.example", "far")
    invocation.url = "https://far.example:443/v1"
    assert keys(connection()) == ("yh_far_api", "yh_far_manage")
    for stranger in ("https://evil.example", "http://far.example", "https://far.example:444", "not a url:x"):
        invocation.url = stranger
        assert keys(connection()) == (None, None)
    invocation.url = None
    (place / "yunhe.toml").write_text('url = "https://evil.example"\n')
    found = connection()
    assert (found.url, found.source) == ("https://evil.example", "yunhe.toml")
    assert keys(found) == (None, None)


def test_damaged_credentials_count_as_none(place: Path, invocation: Invocation) -> None:
    for text in ("", "[]", '{"base_url": 5}', "{"):
        profile(place).parent.mkdir(parents=True, exist_ok=True)
        profile(place).write_text(text)
        with pytest.raises(NoInstance):
            connection()


def test_keys_are_not_in_what_is_printed_of_a_connection(place: Path, invocation: Invocation) -> None:
    store(profile(place), "https://far.example", "far")
    assert "yh_far" not in repr(connection())
