"""Yunhe's gateway with every feature on: key, limits, credit leases, routing, metering to the fsync'd spool."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from bench.programs import HERE, Upstream, pinned
from bench.target import MODES, end, wait_ready
from yunhe.accounts.keys import digest, make_text
from yunhe.catalogue.ports import UsageProbe
from yunhe.core.home import Home
from yunhe.core.ids import new_id
from yunhe.serve.snapshot import KeyEntry, ModelEntry, PriceEntry, ProjectEntry, ReplicaEntry, SnapshotDelta

#: Routing always has a choice to make.
REPLICAS = 4
START_TIMEOUT_S = 20.0
#: High enough that no request is refused, yet checked for each.
RPM_LIMIT, TPM_LIMIT = 1_000_000_000, 1_000_000_000_000
CREDIT_MICRO = 10**15
COUNTED = UsageProbe(
    request_fields={"timings_per_token": True},
    chunk_key="timings",
    prompt_fields=("cache_n", "prompt_n"),
    cached_field="cache_n",
    completion_field="predicted_n",
)


def _snapshot(upstream: Upstream, prefix: str, stored: str) -> SnapshotDelta:
    project = new_id("proj")
    price = PriceEntry(new_id("price"), 1_000_000, 3_000_000)
    replicas = [
        ReplicaEntry(
            replica_id=new_id("rep"),
            deployment_id=f"dep_{mode}",
            model=f"fake-{mode}",
            url=f"http://127.0.0.1:{upstream.port(mode)}",
            upstream_model=f"fake-{mode}",
            api_key=None,
            state="ready",
            slots=1024,
            tokens_per_s=1000.0 + number,
            served_by="bench; cpu; fake; default",
            usage_probe=COUNTED if mode == "paced-counted" else UsageProbe(),
        )
        for mode in MODES
        for number in range(REPLICAS)
    ]
    capabilities = ("chat", "completions")
    return SnapshotDelta(
        revision=1,
        full=True,
        server_time=time.time(),
        keys=(KeyEntry(prefix, new_id("key"), stored, project, ("inference",), None, RPM_LIMIT, TPM_LIMIT, None),),
        projects=(ProjectEntry(project, "bench", RPM_LIMIT, TPM_LIMIT, None, CREDIT_MICRO),),
        models=tuple(ModelEntry(f"fake-{mode}", 1_790_000_000, "bench", 8192, capabilities, price) for mode in MODES),
        replicas=tuple(replicas),
    )


class Yunhe:
    """One worker over a data directory of its own; control is the stand-in, off the measured core."""

    name = "yunhe"
    passes_events = True

    def __init__(self, upstream: Upstream, core: int, rest: int, home: Path) -> None:
        self._upstream, self._core, self._rest, self._home = upstream, core, rest, Home(home)
        self._key = ""
        self._port = self._control_port = 0
        self._reserved: socket.socket | None = None
        self._control: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make secrets and a snapshot, start the stand-in, then the worker."""
        self._home.make()
        pepper = secrets.token_hex(32)
        for name, text in (("pepper", pepper), ("internal_token", secrets.token_hex(32))):
            path = self._home.secrets / name
            path.touch(0o600)
            path.write_text(text)
        self._key, prefix = make_text("yh", secrets.token_bytes(40))
        snapshot = self._home.root / "snapshot_to_serve.json"
        stored = digest(bytes.fromhex(pepper), self._key)
        snapshot.write_bytes(msgspec.json.encode(_snapshot(self._upstream, prefix, stored)))
        self._start_control(snapshot)
        self._start_worker()

    def _start_control(self, snapshot: Path) -> None:
        self._control = subprocess.Popen(
            [sys.executable, "-m", "bench.control_stand_in", snapshot],
            stdout=subprocess.PIPE,
            cwd=HERE.parent,
            preexec_fn=pinned(self._rest),
            start_new_session=True,
        )
        assert self._control.stdout is not None
        line = self._control.stdout.readline()
        if not line:
            raise RuntimeError("the control stand-in did not start; its words are above")
        self._control_port = int(line)

    def _start_worker(self) -> None:
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self._port = self._reserved.getsockname()[1]
        argv = [
            sys.executable,
            "-m",
            "yunhe.gateway",
            "--home",
            str(self._home.root),
            "--worker",
            "0",
            "--workers",
            "1",
        ]
        argv += ["--host", "127.0.0.1", "--port", str(self._port)]
        argv += ["--control-url", f"http://127.0.0.1:{self._control_port}"]
        log = self._home.logs / "gateway.log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                argv, stdout=out, stderr=subprocess.STDOUT, preexec_fn=pinned(self._core), start_new_session=True
            )
        health = f"http://127.0.0.1:{self._port}/gateway/health"
        wait_ready(health, self._process, log, START_TIMEOUT_S)
        until = time.monotonic() + START_TIMEOUT_S
        while self.health()["models"].get(self.model("burst")) != REPLICAS:
            if time.monotonic() > until:
                raise RuntimeError(f"the gateway did not take the snapshot: {self.health()}")
            time.sleep(0.1)

    def health(self) -> dict[str, Any]:
        """What the worker says of itself."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/gateway/health", timeout=5) as answer:
            document: dict[str, Any] = json.load(answer)
        return document

    def counts(self) -> dict[str, int]:
        """What the stand-in was told: records, duplicates, tokens."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._control_port}/counts", timeout=5) as answer:
            document: dict[str, int] = json.load(answer)
        return document

    def pid(self) -> int | None:
        """The worker."""
        return self._process.pid if self._process else None

    def port(self, mode: str) -> int:
        """One for all."""
        return self._port

    def model(self, mode: str) -> str:
        """One for each mode."""
        return f"fake-{mode}"

    def key(self) -> str:
        """The key made for this run."""
        return self._key

    def stop(self) -> None:
        """End worker and stand-in."""
        for process in (self._process, self._control):
            if process:
                end(process)
        if self._reserved:
            self._reserved.close()
