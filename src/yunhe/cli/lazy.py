"""A command group that imports a command's module only when that command is called."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: its name, its module below ``yunhe.cli``, and its line in ``--help``."""

    name: str
    module: str
    help: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of ``--help`` and what stands below it."""

    title: str
    entries: tuple[Entry, ...]


class LazyGroup(click.Group):
    """Every module holds its command under the name ``command``."""

    def __init__(self, *args: object, sections: Sequence[Section], **attributes: object) -> None:
        super().__init__(*args, **attributes)  # type: ignore[arg-type]
        self._sections = sections
        self._entries = {entry.name: entry for section in sections for entry in section.entries}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name, in the order of ``--help``."""
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None when there is none of that name."""
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        command = importlib.import_module(f"yunhe.cli.{entry.module}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but forgiving the plural of a noun: ``yunhe keys`` is ``yunhe key``."""
        if args and args[0] not in self._entries and args[0].removesuffix("s") in self._entries:
            args = [args[0].removesuffix("s"), *args[1:]]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under their headings, without importing any."""
        for section in self._sections:
            with formatter.section(section.title):
                formatter.write_dl([(entry.name, entry.help) for entry in section.entries])
