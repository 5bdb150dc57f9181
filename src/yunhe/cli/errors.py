"""Errors that the command line finds itself."""

from __future__ import annotations

from typing import ClassVar


class CliError(Exception):
    """The command could not be carried out."""

    code: ClassVar[str] = "failed"
    http_status: ClassVar[int | None] = None

    def __init__(self, message: str, *, next_step: str = "") -> None:
        self.message = message
        self.next_step = next_step
        super().__init__(message)


class NoInstance(CliError):
    """No instance is known."""

    code = "not_signed_in"


class NotRunning(CliError):
    """Nothing runs in this data directory."""

    code = "not_running"


class StillPending(CliError):
    """What was asked for is under way but not there yet."""

    code = "still_pending"


class NothingThere(CliError):
    """What the command is about does not exist."""

    code = "not_found"


class RolledBack(CliError):
    """A roll-out was taken back."""

    code = "rolled_back"


class BadFile(CliError):
    """A file cannot be used."""

    code = "bad_file"
