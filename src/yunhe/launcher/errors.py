"""What can keep an instance from starting or stopping."""

from __future__ import annotations

from yunhe.core.errors import YunheError


class LauncherError(YunheError):
    """The instance could not be started."""

    code = "launcher_error"
    default_next_step = "Run `yunhe doctor`; it names the cause and the next step."


class BadConfig(LauncherError):
    """The configuration is not valid."""

    code = "bad_config"
    default_next_step = "Correct the value; `yunhe config show --origin` tells where each one comes from."


class BadHome(LauncherError):
    """The data directory cannot be used."""

    code = "bad_home"
    default_next_step = "Choose another directory with YUNHE_HOME, or correct its owner and permissions."


class AlreadyRunning(LauncherError):
    """An instance runs in this data directory already."""

    code = "already_running"
    default_next_step = "Use it, stop it with `yunhe down`, or start another one with its own YUNHE_HOME and --port 0."


class PortTaken(LauncherError):
    """The port is taken."""

    code = "port_taken"
    default_next_step = "Choose another with --port, or --port 0 for any free one."


class StartFailed(LauncherError):
    """The instance did not become ready."""

    code = "start_failed"

    def __init__(self, message: str, *, log: str = "", log_tail: tuple[str, ...] = (), next_step: str = "") -> None:
        super().__init__(message, next_step=next_step or None)
        #: Path of the log that tells more, and its last lines.
        self.log = log
        self.log_tail = log_tail


class StopFailed(LauncherError):
    """Something would not stop."""

    code = "stop_failed"
    default_next_step = "Run `yunhe down` again; processes of another user need that user's rights."
