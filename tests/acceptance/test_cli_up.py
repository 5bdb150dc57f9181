"""`yunhe up` and `yunhe down`: a whole life, with a killed launcher in the middle."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from yunhe.launcher.processes import identify, wait_gone

REPORT = {"console_url", "base_url", "api_key", "admin_user", "admin_password", "data_dir", "pid"}
UP = ("up", "--detach", "--port", "0", "--timeout", "180")


def kill(pid: int) -> None:
    """SIGKILL, and wait until the kernel took it away."""
    process = identify(pid)
    assert process is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_gone([process], 10) == []


def pids(shell: Any) -> dict[str, int]:
    return {process["name"]: process["pid"] for process in shell.json("status")["processes"]}


def test_instance_outlives_its_launcher_and_is_taken_over(shell: Any, instance: Any) -> None:
    first = shell.json(*UP)
    assert set(first) == REPORT
    assert first["base_url"].endswith("/v1")
    assert first["admin_user"] == "admin"
    assert first["admin_password"]
    assert first["data_dir"] == str(shell.home)
    # Beside the shared instance, with its own port and its own people.
    assert first["base_url"] != instance.base_url
    assert first["api_key"] != instance.api_key
    assert instance.run("status").returncode == 0
    replica = shell.json("replica", "list")[0]["pid"]

    kill(first["pid"])
    orphaned = shell.run("status")
    assert orphaned.returncode == 3
    assert "gateway-0" in orphaned.stderr
    assert shell.run("chat", "smollm2-135m-instruct", "hello", "--max-tokens", "4").returncode == 0

    second = shell.json(*UP)
    assert second["pid"] != first["pid"]
    assert second["api_key"] == first["api_key"]
    assert (second["admin_user"], second["admin_password"]) == (None, None)
    assert shell.json("replica", "list")[0]["pid"] == replica, "the replica was not adopted"

    kill(second["pid"])
    agents = [pid for pid, command in shell.processes().items() if "yunhe.agent" in command]
    kill(agents[0])
    stopped = shell.json("down")
    assert stopped["was_running"] is True
    assert {"control", "gateway-0", "gateway-1"} <= set(stopped["stopped"])
    assert shell.processes() == {}
    assert shell.json("down")["was_running"] is False
    assert shell.run("status").returncode == 3


def test_foreground_tells_how_to_use_it_and_ctrl_c_stops_all(shell: Any) -> None:
    yunhe = Path(sys.executable).parent / "yunhe"
    child = subprocess.Popen(
        [str(yunhe), "up", "--port", "0", "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=shell.env(),
        cwd=shell.work,
    )
    assert child.stdout is not None
    told = ""
    try:
        while "curl " not in told:
            line = child.stdout.readline()
            assert line, f"it ended early: {told}"
            told += line
        assert "admin password" in told
        assert sorted(pids(shell)) == ["agent", "control", "gateway-0"]
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=120)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0
    assert "Authorization: Bearer yh_" in told + rest
    assert shell.processes() == {}

    # What Ctrl-C stopped is no failure: it starts again as it was.
    again = shell.json(*UP)
    assert again["admin_password"] is None
    assert shell.run("chat", "smollm2-135m-instruct", "hello", "--max-tokens", "4").returncode == 0
    assert len(shell.json("replica", "list", "--all")) == 1
    assert {event["severity"] for event in shell.json("event", "list") if event["subject_kind"] == "replica"} <= {
        "info",
        "warning",
    }
    join_another_centre(shell, again["console_url"])


def join_another_centre(shell: Any, url: str) -> None:
    """`yunhe join` brings cards in for as long as it runs; its agent lives beside the instance's own."""
    token = shell.json("centre", "create", "hangzhou")["join_token"]
    yunhe = Path(sys.executable).parent / "yunhe"
    command = [str(yunhe), "join", url, "--home", str(shell.work / "hangzhou")]
    agent = subprocess.Popen(command, env={**shell.env(), "YUNHE_JOIN_TOKEN": token}, stderr=subprocess.DEVNULL)
    try:
        while (state := states(shell)["hangzhou"]) != "online":
            assert agent.poll() is None, f"the agent ended; the centre is {state}"
        agent.send_signal(signal.SIGINT)
        assert agent.wait(60) == 0
    finally:
        agent.kill()
        agent.wait()
    assert states(shell)["local"] == "online"
    assert not [path for path in (shell.work / "hangzhou").rglob("*") if path.is_file() and token in path.read_text()]


def states(shell: Any) -> dict[str, str]:
    return {centre["name"]: centre["state"] for centre in shell.json("centre", "list")}


def test_second_up_says_what_runs_and_where(instance: Any) -> None:
    done = instance.run("up", "--detach", "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "error[already_running]" in done.stderr
    assert instance.console_url in done.stderr
    assert str(instance.home) in done.stderr


def test_taken_port_fails_at_once_and_leaves_nothing(shell: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = shell.run("up", "--detach", "--port", str(port))
    assert done.returncode == 1
    assert f"error[port_taken]: port {port}" in done.stderr
    assert "--port 0" in done.stderr
    assert shell.processes() == {}


def test_port_of_another_instance_is_taken_too(instance: Any, shell: Any) -> None:
    """Its workers share the port among themselves (SO_REUSEPORT); that must not let strangers in."""
    port = instance.base_url.rpartition(":")[2].removesuffix("/v1")
    done = shell.run("up", "--detach", "--port", port)
    assert done.returncode == 1
    assert "error[port_taken]" in done.stderr


def test_start_that_cannot_succeed_shows_the_log(shell: Any) -> None:
    url = "postgresql://somebody:hunter2@127.0.0.1:9/nowhere"
    done = shell.run(*UP, env={"YUNHE_DATABASE_URL": url})
    assert done.returncode == 1
    assert "error[start_failed]: control" in done.stderr
    assert "hint: " in done.stderr
    assert "  | " in done.stderr, "the log's tail is missing"
    assert "hunter2" not in done.stderr
    assert shell.processes() == {}


def test_unwritable_data_directory_is_refused_with_the_next_step(shell: Any) -> None:
    in_the_way = shell.work / "file"
    in_the_way.write_text("not a directory")
    done = shell.run("up", "--detach", env={"YUNHE_HOME": str(in_the_way / "home")})
    assert done.returncode == 1
    assert "error[bad_home]" in done.stderr
    assert "YUNHE_HOME" in done.stderr


def test_bad_configuration_names_the_value_and_its_place(shell: Any) -> None:
    file = shell.work / "yunhe.toml"
    file.write_text('port = "high"\n')
    done = shell.run("up", "--detach")
    file.unlink()
    assert done.returncode == 2
    assert "error[bad_config]: port (yunhe.toml)" in done.stderr
