"""LiteLLM's proxy in its best case: its own environment, one worker, a master key, no database, no callbacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.programs import CACHE, Upstream, pinned
from bench.target import MODES, end, free_port, wait_ready

REQUIREMENT = "litellm[proxy]==1.106.2"
VENV = CACHE / "litellm"
MASTER_KEY = "sk-bench-only-on-loopback"
START_TIMEOUT_S = 120.0


def install() -> Path:
    """The ``litellm`` program, installed when it is missing. Raises RuntimeError when that fails."""
    program, done = VENV / "bin" / "litellm", VENV / ".installed"
    if done.exists() and done.read_text() == REQUIREMENT:
        return program
    print(f"installing {REQUIREMENT} into {VENV} (once, about two minutes) ...", file=sys.stderr, flush=True)
    VENV.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    result = subprocess.run([*pip, "--progress-bar", "off", REQUIREMENT], capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"cannot install {REQUIREMENT}:\n{result.stderr[-2000:]}")
    done.write_text(REQUIREMENT)
    return program


class LiteLLM:
    """One uvicorn worker; a model name for each port of the upstream."""

    name = "litellm"
    passes_events = False

    def __init__(self, upstream: Upstream, core: int, home: Path) -> None:
        self._upstream, self._core, self._home = upstream, core, home
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Install when needed, write the configuration, start; takes tens of seconds."""
        program = install()
        self._home.mkdir(parents=True)
        self._port = free_port()
        models = [
            {
                "model_name": self.model(mode),
                "litellm_params": {
                    "model": "openai/fake",
                    "api_base": f"http://127.0.0.1:{self._upstream.port(mode)}/v1",
                    "api_key": "none",
                },
            }
            for mode in MODES
        ]
        config, log = self._home / "config.yaml", self._home / "litellm.log"
        config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": MASTER_KEY}}))
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        env = {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        argv = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(self._port)]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [*argv, "--num_workers", "1", "--telemetry", "False"],
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=pinned(self._core),
                start_new_session=True,
            )
        wait_ready(f"http://127.0.0.1:{self._port}/health/liveliness", self._process, log, START_TIMEOUT_S)

    def pid(self) -> int | None:
        """The server's process."""
        return self._process.pid if self._process else None

    def port(self, mode: str) -> int:
        """One for all."""
        return self._port

    def model(self, mode: str) -> str:
        """One for each port of the upstream."""
        return f"fake-{mode}"

    def key(self) -> str:
        """The master key."""
        return MASTER_KEY

    def stop(self) -> None:
        """End it."""
        if self._process:
            end(self._process)
