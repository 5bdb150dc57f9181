"""The command lines of an instance's processes: all that the launcher knows of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

from yunhe.core.home import Home

#: -P: a directory that `yunhe up` happens to run in must not shadow modules.
PYTHON = (sys.executable, "-P", "-m")
MODULES = {"control": "yunhe.control", "agent": "yunhe.agent", "gateway": "yunhe.gateway"}


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to run one child and how to ask it to end."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(repr=False)
    #: What it writes to its standard output and error; its own log, if it keeps one, is NAME.log beside it.
    output: Path
    pass_fds: tuple[int, ...] = ()
    stop_signal: Signals = SIGTERM
    #: Seconds between asking and killing.
    grace_s: float = 15.0


def specs(
    home: Home,
    *,
    host: str,
    port: int,
    workers: int,
    control_fd: int,
    control_port: int,
    database_url: str | None,
    environ: Mapping[str, str],
) -> list[ChildSpec]:
    """Control, agent and gateway workers of one instance."""
    where = ("--home", str(home.root))
    control_url = f"http://127.0.0.1:{control_port}"
    # Only control may know the database; nobody needs a caller's key.
    env = {name: value for name, value in environ.items() if name not in ("YUNHE_DATABASE_URL", "YUNHE_API_KEY")}
    env.update(YUNHE_HOME=str(home.root), PYTHONUNBUFFERED="1")
    control_env = env if database_url is None else {**env, "YUNHE_DATABASE_URL": database_url}
    control = ChildSpec(
        name="control",
        argv=(*PYTHON, MODULES["control"], *where, "--fd", str(control_fd)),
        env=control_env,
        output=home.logs / "control.out",
        pass_fds=(control_fd,),
    )
    agent = ChildSpec(
        name="agent",
        argv=(*PYTHON, MODULES["agent"], *where, "--control-url", control_url, "--driver", "local"),
        env=env,
        output=home.logs / "agent.out",
        # SIGINT: the workloads end too; SIGTERM would leave them running.
        stop_signal=SIGINT,
        grace_s=40.0,
    )
    gateways = [
        ChildSpec(
            name=f"gateway-{worker}",
            argv=(
                *PYTHON, MODULES["gateway"], *where, "--worker", str(worker), "--workers", str(workers),
                "--host", host, "--port", str(port), "--control-url", control_url,
            ),
            env=env,
            output=home.logs / f"gateway-{worker}.out",
            # It drains for at most 30 s, then settles and flushes its spool.
            grace_s=40.0,
        )
        for worker in range(workers)
    ]  # fmt: skip
    return [control, agent, *gateways]


def stop_all_command(home: Home) -> tuple[str, ...]:
    """Stops every workload that an agent left behind in ``home``."""
    return (*PYTHON, MODULES["agent"], "--home", str(home.root), "--stop-all")
