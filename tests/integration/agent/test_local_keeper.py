"""What the local driver survives: its own death, its keepers' deaths, restarts of the machine, full disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from yunhe.drivers.centres.local import LocalCentre, cgroups
from yunhe.drivers.centres.local.processes import marked
from yunhe.pool.workload import Workload, WorkloadStatus
from yunhe.testing.waiting import eventually

MIB = 1024**2
FOREVER = "import threading; print('up', flush=True); threading.Event().wait()"


def python(script: str, workload_id: str = "w", memory_bytes: int | None = None, cores: int | None = None) -> Workload:
    argv = (sys.executable, "-S", "-c", script)
    return Workload(workload_id, "test", argv, {}, (), cores, memory_bytes, {})


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    state = tmp_path / "state"
    yield state
    for mark in {f"YUNHE_WORKLOAD={path}" for path in state.glob("[!.]*")} if state.exists() else ():
        for pid in marked(mark):
            os.kill(pid, signal.SIGKILL)


def only(centre: LocalCentre) -> WorkloadStatus:
    (status,) = centre.observe()
    return status


def until_it_says(centre: LocalCentre, text: str) -> None:
    eventually(f"it says {text}", lambda: text in centre.logs("w", 0, MIB).text)


def until_ended(centre: LocalCentre) -> WorkloadStatus:
    eventually("it ends", lambda: only(centre).phase in ("exited", "lost"))
    return only(centre)


def keeper_pid(state: Path) -> int:
    return int(json.loads((state / "w" / "keeper.json").read_text())["pid"])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_driver_process_killed_right_after_the_start_leaves_a_workload_to_adopt(state: Path) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from yunhe.drivers.centres.local import LocalCentre\nfrom yunhe.pool.workload import Workload\n"
        f"LocalCentre(Path({str(state)!r})).start("
        f"Workload('w', 'test', (sys.executable, '-S', '-c', {FOREVER!r}), {{}}, (), None, None, {{}}))\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    centre = LocalCentre(state)
    assert only(centre).phase in ("starting", "running")
    centre.start(python(FOREVER))
    until_it_says(centre, "up")
    assert centre.logs("w", 0, MIB).text == "up\n"
    centre.stop("w", 0.0)
    assert until_ended(centre).reason == "stopped"


def test_of_two_keepers_one_keeps_and_the_other_leaves(state: Path) -> None:
    centre = LocalCentre(state)
    centre.start(python(FOREVER))
    until_it_says(centre, "up")
    shim = Path(sys.modules[LocalCentre.__module__].__file__ or "").with_name("shim.py")
    done = subprocess.run([sys.executable, "-I", str(shim), str(state / "w")], check=False, timeout=60)
    assert done.returncode == 0
    assert only(centre).phase == "running"
    assert centre.logs("w", 0, MIB).text == "up\n"
    centre.stop("w", 0.0)
    until_ended(centre)


def test_a_killed_keeper_takes_all_of_its_workload_along(state: Path) -> None:
    centre = LocalCentre(state)
    centre.start(python("import os\nif os.fork() == 0: os.setsid()\n" + FOREVER))
    eventually("both run", lambda: len(marked(f"YUNHE_WORKLOAD={state / 'w'}")) == 2)
    pids = marked(f"YUNHE_WORKLOAD={state / 'w'}")
    os.kill(keeper_pid(state), signal.SIGKILL)
    status = until_ended(centre)
    assert (status.phase, status.exit_code, status.reason) == ("lost", None, "its keeper process was killed")
    assert not any(map(alive, pids))


def test_what_ran_before_the_machine_restarted_is_lost(state: Path) -> None:
    centre = LocalCentre(state)
    centre.start(python(FOREVER))
    until_it_says(centre, "up")
    keeper = json.loads((state / "w" / "keeper.json").read_text())
    centre.stop("w", 0.0)
    until_ended(centre)
    (state / "w" / "exit.json").unlink()
    (state / "w" / "keeper.json").write_text(json.dumps({**keeper, "boot_id": "of another time"}))
    assert only(LocalCentre(state)).phase == "lost"


def test_a_pid_that_another_process_has_now_is_not_taken_for_the_keeper(state: Path) -> None:
    centre = LocalCentre(state)
    centre.start(python("print('up')"))
    until_ended(centre)
    (state / "w" / "exit.json").unlink()
    keeper = json.loads((state / "w" / "keeper.json").read_text())
    (state / "w" / "keeper.json").write_text(json.dumps({**keeper, "pid": os.getpid()}))
    other = LocalCentre(state)
    other.stop("w", 0.0)
    assert only(other).phase == "lost"


def test_a_workload_whose_directory_is_removed_ends(state: Path) -> None:
    centre = LocalCentre(state)
    centre.start(python(FOREVER))
    until_it_says(centre, "up")
    pids = [keeper_pid(state), only(centre).pid or 0]
    shutil.rmtree(state / "w")
    eventually("nothing of it is left", lambda: not any(map(alive, pids)))
    assert list(centre.observe()) == []


def test_without_control_groups_the_keeper_watches_memory(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "ROOT", state / "no-such-place")
    monkeypatch.setattr(cgroups.make_memory_group, "__defaults__", (state / "no-such-place", cgroups.MEMBERSHIP))
    centre = LocalCentre(state)
    held = "held = bytearray(b'x') * (200 * 1024 * 1024)\n"
    centre.start(python(held + FOREVER, memory_bytes=100 * MIB))
    assert json.loads((state / "w" / "spec.json").read_text())["cgroup"] is None
    status = until_ended(centre)
    assert (status.exit_code, "out of memory" in status.reason) == (-9, True)


def test_a_full_disk_loses_output_and_not_the_workload(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount], check=False).returncode != 0:
        pytest.skip("only root may mount a small disk")
    try:
        centre = LocalCentre(mount / "state")
        script = "print('x' * 3_000_000, flush=True)\nprint('written', flush=True)\n" + FOREVER
        centre.start(python(script))
        eventually("the disk is full", lambda: shutil.disk_usage(mount).free == 0)
        assert only(centre).phase == "running"
        (pid, keeper) = (only(centre).pid or 0, keeper_pid(mount / "state"))
        os.kill(pid, signal.SIGKILL)
        eventually("nothing of it is left", lambda: not alive(pid) and not alive(keeper))
        assert only(centre).reason == "killed by signal 9"
    finally:
        subprocess.run(["umount", "--lazy", mount], check=True)


def test_pinned_workloads_spread_over_the_processors(state: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor only")
    centre = LocalCentre(state)
    for workload_id in ("a", "b"):
        centre.start(python(FOREVER, workload_id, cores=1))
    pinned = [json.loads((state / name / "spec.json").read_text())["cpus"] for name in ("a", "b")]
    assert pinned[0] != pinned[1]
    for workload_id in ("a", "b"):
        centre.stop(workload_id, 0.0)
    eventually("both ended", lambda: {status.phase for status in centre.observe()} == {"exited"})


def test_the_workloads_directory_is_closed_to_other_users(state: Path) -> None:
    centre = LocalCentre(state)
    workload = python("print('up')")
    centre.start(Workload(workload.id, "", workload.argv, {}, (), None, None, {"secret.json": "{}"}))
    until_ended(centre)
    assert state.stat().st_mode & 0o077 == 0
    assert (state / "w" / "work" / "secret.json").stat().st_mode & 0o077 == 0
