"""Installations of small made-up engines: progress, failures with their reason, nothing half installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import asdict

from yunhe.catalogue.ports import InstallPlan, InstallStep
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines import installed
from yunhe.installer.carrying_out import InstallFailed, install
from yunhe.installer.documents import Begun, Document, Progress

SCRIPT = "import sys; print('[1/4] one'); print('[4/4] four'); open(sys.argv[1], 'w').write('#!/bin/sh\\nexit 0\\n')"


def plan(directory: Path, *, step: tuple[str, ...] = (), smoke: str = "exit 0", **fields: object) -> InstallPlan:
    program = directory / "bin" / "engine"
    return InstallPlan(
        engine="made-up",
        version="3",
        summary="an engine that does nothing",
        steps=(
            InstallStep("Make a directory", ("mkdir", "-p", str(program.parent)), expected_s=1),
            InstallStep(
                "Write it",
                step or (sys.executable, "-c", SCRIPT, str(program)),
                expected_s=3,
                progress=r"^\[(?P<done>\d+)/(?P<total>\d+)\]",
            ),
        ),
        command=(str(program),),
        smoke=("/bin/sh", "-c", smoke),
        discard=(directory / "scratch",),
        **fields,  # type: ignore[arg-type]
    )


def carry_out(tmp_path: Path, made: InstallPlan) -> list[Document]:
    told: list[Document] = []
    install(made, tmp_path / "engines" / "made-up", tmp_path / "logs" / "install.log", told.append)
    return told


def test_progress_rises_to_the_end_and_the_manifest_names_the_build(tmp_path: Path) -> None:
    directory = tmp_path / "engines" / "made-up"
    told = carry_out(tmp_path, plan(directory))
    shares = [one.share for one in told if isinstance(one, Begun | Progress)]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert [one.title for one in told if isinstance(one, Begun)] == ["Make a directory", "Write it"]
    found = installed.read(directory)
    assert found is not None and found.version == "3" and len(found.digest) == 64
    assert "[4/4] four" in (tmp_path / "logs" / "install.log").read_text()


def test_a_step_that_fails_says_why_and_leaves_no_engine(tmp_path: Path) -> None:
    directory = tmp_path / "engines" / "made-up"
    failing = plan(directory, step=("/bin/sh", "-c", "echo no such compiler >&2; exit 3"))
    with pytest.raises(InstallFailed, match=r"Write it ended with status 3.*no such compiler"):
        carry_out(tmp_path, failing)
    assert installed.read(directory) is None


def test_a_build_that_crashes_here_is_not_installed(tmp_path: Path) -> None:
    directory = tmp_path / "engines" / "made-up"
    with pytest.raises(InstallFailed, match="killed by signal 4"):
        carry_out(tmp_path, plan(directory, smoke="kill -ILL $$"))
    assert installed.read(directory) is None


def test_missing_programs_and_disk_space_are_said_before_anything_runs(tmp_path: Path) -> None:
    directory = tmp_path / "engines" / "made-up"
    with pytest.raises(InvalidRequest) as missing:
        carry_out(tmp_path, plan(directory, needs={"no-such-compiler": "no-such-package"}))
    assert "apt-get install no-such-package" in missing.value.next_step
    with pytest.raises(InvalidRequest, match="while it is installed"):
        carry_out(tmp_path, plan(directory, disk_bytes=1 << 60))
    assert not directory.exists()


def test_installing_again_replaces_and_a_failure_in_between_leaves_none(tmp_path: Path) -> None:
    directory = tmp_path / "engines" / "made-up"
    carry_out(tmp_path, plan(directory))
    (directory / "old").touch()
    carry_out(tmp_path, plan(directory))
    assert not (directory / "old").exists() and installed.read(directory) is not None


@pytest.mark.parametrize("damage", ["{", "[]", '{"version": "1"}', '{"version":"1","command":[],"digest":"x"}'])
def test_a_damaged_manifest_is_no_engine(tmp_path: Path, damage: str) -> None:
    (tmp_path / installed.MANIFEST).write_text(damage)
    assert installed.read(tmp_path) is None


def ask(home: Path, *arguments: str) -> tuple[int, list[dict[str, object]]]:
    argv = (sys.executable, "-P", "-m", "yunhe.installer", *arguments, "--home", str(home))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_process_lists_what_can_be_installed_and_refuses_the_rest(tmp_path: Path) -> None:
    code, found = ask(tmp_path, "list")
    assert code == 0 and {one["name"] for one in found} >= {"llamacpp"}
    assert all(one["installed"] == "" and one["event"] == "described" for one in found)
    code, found = ask(tmp_path, "install", "no-such-engine")
    assert code == 1 and found[0]["code"] == "not_found" and "llamacpp" in str(found[0]["next_step"])
    code, found = ask(tmp_path, "remove", "../..")
    assert code == 1 and found[0]["code"] == "not_found"


def test_removing_takes_the_engine_away(tmp_path: Path) -> None:
    directory = tmp_path / "engines" / "made-up"
    carry_out(tmp_path, plan(directory))
    assert ask(tmp_path, "remove", "made-up")[0] == 0
    assert not directory.exists()


def test_documents_have_plain_fields() -> None:
    assert set(asdict(Progress(0.5))) == {"share", "line"}
