"""The port keeper with real processes: a port file is written for the command's own server, and for nobody else's."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from pathlib import Path

LIMIT_S = 60
#: Listens on the port in its arguments, and ends when the port file is there.
SERVER = """
import pathlib, socket, sys, time
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while not pathlib.Path("port").exists():
    time.sleep(0.02)
"""
#: As above, in a process below.
PARENT_OF_SERVER = "import subprocess, sys; subprocess.run([sys.executable, 'server.py', sys.argv[1]], check=True)\n"
#: Ends on SIGTERM, which it has its keeper sent when the port file is there.
STOPPED = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
exec(compile(open("server.py").read(), "server.py", "exec"))
os.kill(os.getppid(), signal.SIGTERM)
while True:
    signal.pause()
"""


def kept(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "server.py").write_text(SERVER)
    keeper = [sys.executable, "-m", "yunhe.drivers.engines.port_keeper", "--port-file", "port", *arguments]
    return subprocess.run(keeper, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def test_the_port_is_told_when_the_command_listens_on_it(tmp_path: Path) -> None:
    ended = kept(tmp_path, "--", sys.executable, "server.py", "@PORT@")
    assert ended.returncode == 0, ended.stderr
    assert 1024 <= int((tmp_path / "port").read_text()) <= 65_535


def test_a_process_below_the_command_may_be_the_one_that_listens(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT_OF_SERVER)
    ended = kept(tmp_path, "--", sys.executable, "parent.py", "@PORT@")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "port").read_text().isdigit()


def test_a_strangers_server_on_the_port_is_not_taken_for_ours(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = str(stranger.getsockname()[1])
        waits = "import time; time.sleep(1); raise SystemExit(3)"
        ended = kept(tmp_path, "--port", port, "--", sys.executable, "-c", waits)
        assert ended.returncode == 3
        assert not (tmp_path / "port").exists()
        taken = kept(tmp_path, "--port", port, "--", sys.executable, "server.py", "@PORT@")
    assert taken.returncode != 0
    assert "Address already in use" in taken.stderr
    assert not (tmp_path / "port").exists()


def test_a_signal_reaches_the_command_and_its_exit_code_comes_back(tmp_path: Path) -> None:
    (tmp_path / "stopped.py").write_text(STOPPED)
    assert kept(tmp_path, "--", sys.executable, "stopped.py", "@PORT@").returncode == 9


def test_files_get_the_port_as_a_number_and_their_path_is_told(tmp_path: Path) -> None:
    (tmp_path / "template.json").write_text(json.dumps({"port": "@PORT@", "url": "http://127.0.0.1:@PORT@/"}))
    shows = "import os, sys; print(os.environ['CONFIG_PATH'], sys.argv[1])"
    ended = kept(
        tmp_path,
        *("--fill", "template.json=config.json", "--path-env", "CONFIG_PATH=config.json"),
        *("--", sys.executable, "-c", shows, "@PORT@"),
    )
    path, port = ended.stdout.split()
    assert Path(path) == tmp_path / "config.json"
    assert json.loads(Path(path).read_text()) == {"port": int(port), "url": f"http://127.0.0.1:{port}/"}
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o640


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = kept(tmp_path, "--", "no-such-engine", "--port", "@PORT@")
    assert ended.returncode == 127
    assert "no-such-engine does not start" in ended.stderr
