from __future__ import annotations

from pathlib import Path

import pytest

from yunhe.cli.logs import follow_file


def test_following_prints_whole_lines_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.out"
    path.write_text("one\ntwo\nhal")
    offset = follow_file(path, 4, several=False)
    assert capsys.readouterr().out == "two\n"
    assert follow_file(path, offset, several=False) == offset
    with path.open("a") as file:
        file.write("f\n")
    follow_file(path, offset, several=True)
    assert capsys.readouterr().out == "agent.out  half\n"


def test_rotated_file_is_read_from_its_beginning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.out"
    path.write_text("new\n")
    assert follow_file(path, 1_000, several=False) == 4
    assert capsys.readouterr().out == "new\n"


def test_file_that_went_away_begins_anew(tmp_path: Path) -> None:
    assert follow_file(tmp_path / "gone.out", 7, several=False) == 0
