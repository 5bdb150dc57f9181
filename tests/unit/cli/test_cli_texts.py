"""How values are read from and written to the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from yunhe.cli.deployment import parse_setting
from yunhe.cli.texts import Credits, Duration, Moment, ago, amount, duration_s, when


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("90min", 5_400), ("1.5s", 1.5)])
def test_durations_have_a_unit(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "30", "-1d", "0s", "infd", "nans", "1000000d", "1 week"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_moment_is_a_date_a_time_or_so_long_ago() -> None:
    convert = Moment().convert
    assert convert("2026-11-23", None, None) == datetime(2026, 11, 23, tzinfo=UTC)
    assert convert("2026-11-23T12:00:00+08:00", None, None) == datetime(2026, 11, 23, 4, tzinfo=UTC)
    assert timedelta(days=6) < datetime.now(UTC) - convert("7d", None, None) < timedelta(days=8)
    with pytest.raises(click.BadParameter, match="seven days ago"):
        convert("tuesday", None, None)


def test_credits_are_exact() -> None:
    assert Credits().convert("0.000001", None, None) == 1
    assert amount(Credits().convert("1,000.25", None, None)) == "1000.25"
    with pytest.raises(click.BadParameter, match="six decimals"):
        Credits().convert("0.0000001", None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s ago"),
        (59, "59 s ago"),
        (61, "1 min ago"),
        (7_300, "2 h ago"),
        (200_000, "2 d ago"),
        (-90, "in 1 min"),
    ],
)
def test_time_reads_in_one_unit(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_times_are_iso_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert when(datetime(2026, 11, 23, 16, tzinfo=UTC)) == "2026-11-23T16:00:00+00:00"
    assert when(None) is None


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("threads=2", ("threads", 2)),
        ("temperature=0.5", ("temperature", 0.5)),
        ("flash=true", ("flash", True)),
        ("flash=false", ("flash", False)),
        ("name=a=b", ("name", "a=b")),
        ("empty=", ("empty", "")),
    ],
)
def test_settings_get_the_type_that_they_look_like(text: str, setting: tuple[str, object]) -> None:
    assert parse_setting(text) == setting


@pytest.mark.parametrize("text", ["threads", "=2"])
def test_setting_needs_a_name_and_a_value(text: str) -> None:
    with pytest.raises(click.BadParameter, match="NAME=VALUE"):
        parse_setting(text)
