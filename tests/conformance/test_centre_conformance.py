"""What every centre driver owes the agent. Add a driver to DRIVERS."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from yunhe.drivers.centres.local import LocalCentre
from yunhe.pool.errors import WorkloadRejected
from yunhe.pool.workload import Workload, WorkloadStatus
from yunhe.testing.waiting import eventually

DRIVERS: list[Callable[[Path], Any]] = [LocalCentre]
MIB = 1024**2
FOREVER = "import threading; print('up', flush=True); threading.Event().wait()"


def python(workload_id: str, script: str, **changes: Any) -> Workload:
    argv = (sys.executable, "-S", "-c", script)
    return replace(Workload(workload_id, "test", argv, {}, (), None, None, {}), **changes)


class Bench:
    """A driver over a state directory, and what the tests ask it again and again."""

    def __init__(self, make: Callable[[Path], Any], state_dir: Path) -> None:
        self._make = make
        self._state_dir = state_dir
        self.centre = make(state_dir)

    def another_instance(self) -> Any:
        return self._make(self._state_dir)

    def status(self, workload_id: str, centre: Any = None) -> WorkloadStatus:
        (found,) = [status for status in (centre or self.centre).observe() if status.id == workload_id]
        assert isinstance(found, WorkloadStatus)
        return found

    def until(self, workload_id: str, *phases: str) -> WorkloadStatus:
        def there() -> WorkloadStatus | None:
            status = self.status(workload_id)
            return status if status.phase in phases else None

        return eventually(f"{workload_id} is {phases}", there)

    def ended(self, workload_id: str) -> WorkloadStatus:
        return self.until(workload_id, "exited", "lost")

    def says(self, workload_id: str, text: str) -> None:
        eventually(f"{workload_id} says {text!r}", lambda: text in self.centre.logs(workload_id, 0, MIB).text)


@pytest.fixture(params=DRIVERS, ids=lambda make: make.__name__)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(request.param, tmp_path / "state")
    yield bench
    for status in bench.centre.observe():
        bench.centre.stop(status.id, 0.0)
    for status in bench.centre.observe():
        bench.ended(status.id)
        bench.centre.forget(status.id)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_the_inventory_names_nodes_with_memory_and_cores(bench: Bench) -> None:
    inventory = bench.centre.inventory()
    assert inventory.nodes
    assert all(node.name and node.memory_bytes and node.cpu_cores for node in inventory.nodes)


def test_a_workload_runs_in_its_own_directory_with_its_files_and_environment(bench: Bench) -> None:
    script = "import os; print(open('deep/a.txt').read(), os.environ['WORD'], os.getcwd() != '/')"
    bench.centre.start(python("w", script, env={"WORD": "word"}, files={"deep/a.txt": "content"}))
    status = bench.ended("w")
    assert (status.phase, status.exit_code, status.reason) == ("exited", 0, "")
    assert bench.centre.logs("w", 0, MIB).text == "content word True\n"


def test_a_second_start_of_the_same_id_changes_nothing(bench: Bench) -> None:
    workload = python("w", FOREVER)
    bench.centre.start(workload)
    first = bench.until("w", "running")
    bench.centre.start(workload)
    bench.another_instance().start(workload)
    bench.says("w", "up")
    assert bench.status("w").pid == first.pid
    assert len(bench.centre.observe()) == 1


def test_a_start_after_the_end_does_not_run_it_again(bench: Bench) -> None:
    workload = python("w", "print('once')")
    bench.centre.start(workload)
    bench.ended("w")
    bench.centre.start(workload)
    assert bench.status("w").phase == "exited"
    assert bench.centre.logs("w", 0, MIB).text == "once\n"


@pytest.mark.parametrize(("code", "ending"), [(0, "raise SystemExit(0)"), (7, "raise SystemExit(7)")])
def test_exit_codes_are_reported(bench: Bench, code: int, ending: str) -> None:
    bench.centre.start(python("w", ending))
    assert bench.ended("w").exit_code == code


def test_death_by_a_signal_is_told_from_an_exit(bench: Bench) -> None:
    bench.centre.start(python("w", FOREVER))
    bench.says("w", "up")
    os.kill(bench.status("w").pid or 0, signal.SIGKILL)
    assert bench.ended("w").reason == "killed by signal 9"


def test_a_command_that_cannot_start_ends_with_the_reason(bench: Bench) -> None:
    bench.centre.start(replace(python("w", ""), argv=("/nowhere/at/all",)))
    status = bench.ended("w")
    assert status.exit_code == 127
    assert "/nowhere/at/all" in status.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": ()},
        {"cpu_cores": 100_000},
        {"memory_bytes": 1 << 60},
        {"files": {"../outside": ""}},
        {"files": {"/etc/outside": ""}},
        {"id": "../outside"},
    ],
    ids=str,
)
def test_what_can_never_run_is_rejected_and_leaves_no_trace(bench: Bench, changes: dict[str, Any]) -> None:
    with pytest.raises(WorkloadRejected) as caught:
        bench.centre.start(replace(python("w", ""), **changes))
    assert caught.value.details["fields"]
    assert list(bench.centre.observe()) == []


def test_stop_lets_a_workload_end_by_itself_within_its_grace(bench: Bench) -> None:
    script = (
        # Not print: the signal may come while the main program is still inside its own.
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'bye\\n'), sys.exit(3)))\n"
        "print('up', flush=True)\nsignal.pause()"
    )
    bench.centre.start(python("w", script))
    bench.says("w", "up")
    bench.centre.stop("w", 30.0)
    status = bench.ended("w")
    assert (status.exit_code, status.reason) == (3, "stopped")
    bench.says("w", "bye")


def test_stop_kills_what_ignores_it_after_the_grace(bench: Bench) -> None:
    script = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\n"
    bench.centre.start(python("w", script + "while True: signal.pause()"))
    bench.says("w", "up")
    bench.centre.stop("w", 0.1)
    assert bench.ended("w").exit_code == -9


def test_a_later_stop_with_less_grace_ends_it_earlier(bench: Bench) -> None:
    # Waited for rather than handled: between the last look at a flag and a pause a signal would be missed.
    script = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\nprint('up', flush=True)\n"
    waiting = "while True:\n    signal.sigwait({signal.SIGTERM})\n    print('asked', flush=True)"
    bench.centre.start(python("w", script + waiting))
    bench.says("w", "up")
    bench.centre.stop("w", 10_000.0)
    bench.says("w", "asked")
    assert bench.status("w").phase == "stopping"
    bench.centre.stop("w", 0.0)
    assert bench.ended("w").exit_code == -9


def test_a_stop_right_after_the_start_is_not_lost(bench: Bench) -> None:
    for number in range(8):
        bench.centre.start(python(f"w{number}", FOREVER))
        bench.centre.stop(f"w{number}", 0.0)
    assert {bench.ended(f"w{number}").reason for number in range(8)} == {"stopped"}


def test_stopping_what_is_unknown_or_ended_is_no_error(bench: Bench) -> None:
    bench.centre.stop("never", 1.0)
    bench.centre.start(python("w", ""))
    bench.ended("w")
    bench.centre.stop("w", 1.0)
    assert bench.status("w").exit_code == 0


FORKS = """
import os, threading
read_end, write_end = os.pipe()
def fork():
    if os.fork():
        return
    os.setsid()
    print('child', os.getpid(), flush=True)
    os.write(write_end, b'.')
    os.close(1); os.close(2)
    threading.Event().wait()
if os.fork() == 0:
    os.setsid()
    fork()
    print('child', os.getpid(), flush=True)
    os.write(write_end, b'.')
    threading.Event().wait()
print('parent', flush=True)
"""


def descendants(bench: Bench, workload_id: str, count: int) -> list[int]:
    def all_of_them() -> list[int] | None:
        words = bench.centre.logs(workload_id, 0, MIB).text.split()
        pids = [int(pid) for word, pid in pairwise(words) if word == "child"]
        return pids if len(pids) == count else None

    return eventually("its children run", all_of_them)


def test_a_workload_that_forks_away_is_stopped_whole(bench: Bench) -> None:
    bench.centre.start(python("w", FORKS + "threading.Event().wait()"))
    pids = descendants(bench, "w", 2)
    assert all(map(alive, pids))
    bench.centre.stop("w", 0.2)
    bench.ended("w")
    assert not any(map(alive, pids))


def test_what_a_workload_leaves_behind_ends_with_it(bench: Bench) -> None:
    bench.centre.start(python("w", FORKS + "for _ in range(2): os.read(read_end, 1)"))
    pids = descendants(bench, "w", 2)
    assert bench.ended("w").exit_code == 0
    assert not any(map(alive, pids))


def test_more_memory_than_the_limit_kills_the_workload_with_that_reason(bench: Bench) -> None:
    greedy = "held = []\nwhile True: held.append(bytearray(4 * 1024 * 1024))"
    bench.centre.start(python("w", greedy, memory_bytes=128 * MIB))
    status = bench.ended("w")
    assert status.exit_code == -9
    assert "out of memory" in status.reason


def test_a_workload_within_its_memory_limit_is_left_alone(bench: Bench) -> None:
    bench.centre.start(python("w", "held = bytearray(32 * 1024 * 1024); print(len(held))", memory_bytes=256 * MIB))
    status = bench.ended("w")
    assert (status.exit_code, status.reason) == (0, "")


def test_a_workload_is_pinned_to_as_many_cores_as_it_asks_for(bench: Bench) -> None:
    bench.centre.start(python("w", "import os; print(len(os.sched_getaffinity(0)))", cpu_cores=1))
    bench.ended("w")
    assert bench.centre.logs("w", 0, MIB).text == "1\n"


def test_logs_are_read_piece_by_piece_without_cutting_characters(bench: Bench) -> None:
    line = "运河 lock "
    bench.centre.start(python("w", f"print({line!r} * 500, end='')"))
    bench.ended("w")
    offset, text = 0, ""
    while True:
        piece = bench.centre.logs("w", offset, 101)
        assert piece.offset == offset
        assert "�" not in piece.text
        text += piece.text
        offset = piece.next_offset
        if piece.end:
            break
    assert text == line * 500


def test_a_negative_offset_reads_the_end_of_the_log(bench: Bench) -> None:
    bench.centre.start(python("w", "print('a' * 1000 + 'the end', end='')"))
    bench.ended("w")
    piece = bench.centre.logs("w", -7, 100)
    assert (piece.text, piece.end) == ("the end", True)


def test_a_long_log_is_bounded_and_its_offsets_stay_true(bench: Bench) -> None:
    bench.centre.start(python("w", "line = 'x' * 999 + '\\n'\nfor _ in range(60_000): print(line, end='')"))
    bench.ended("w")
    first = bench.centre.logs("w", 0, 1000)
    assert first.offset > 0
    end = bench.centre.logs("w", 60_000_000, 10)
    assert (end.text, end.end, end.offset) == ("", True, 60_000_000)
    assert bench.centre.logs("w", 59_999_000, MIB).text == "x" * 999 + "\n"


def test_logs_of_an_unknown_workload_are_a_key_error(bench: Bench) -> None:
    with pytest.raises(KeyError):
        bench.centre.logs("never", 0, 10)


def test_a_file_that_the_workload_wrote_can_be_read(bench: Bench) -> None:
    bench.centre.start(python("w", "open('port', 'w').write('1234')"))
    bench.ended("w")
    assert bench.centre.read_file("w", "port") == "1234"
    assert bench.centre.read_file("w", "other") is None


def test_another_instance_adopts_what_runs_and_learns_how_it_ends(bench: Bench) -> None:
    bench.centre.start(python("w", "import signal; print('up', flush=True); signal.pause()"))
    bench.says("w", "up")
    other = bench.another_instance()
    adopted = bench.status("w", other)
    assert (adopted.phase, adopted.pid) == ("running", bench.status("w").pid)
    other.stop("w", 30.0)
    eventually("it ended", lambda: bench.status("w", other).phase == "exited")
    assert bench.status("w", other).reason == "stopped"
    assert other.logs("w", 0, MIB).text == "up\n"


def test_a_forgotten_workload_may_be_started_anew(bench: Bench) -> None:
    bench.centre.start(python("w", "print('first')"))
    bench.ended("w")
    bench.centre.forget("w")
    assert list(bench.centre.observe()) == []
    bench.centre.start(python("w", "print('second')"))
    bench.ended("w")
    assert bench.centre.logs("w", 0, MIB).text == "second\n"


def test_what_runs_cannot_be_forgotten(bench: Bench) -> None:
    bench.centre.start(python("w", FOREVER))
    bench.says("w", "up")
    bench.centre.forget("w")
    assert bench.status("w").phase == "running"
