"""Markup that cannot be broken by what it shows: text is escaped unless it was made here. Valid as HTML and as XML."""

from __future__ import annotations

import re
from html import escape
from typing import Final

_VOID: Final = frozenset({"meta", "br", "hr", "input", "col"})
#: Neither HTML nor XML may hold these; halves of pairs cannot even be written.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Any text, made harmless; what may not be written at all is shown as a replacement character."""
    return value if isinstance(value, Markup) else Markup(escape(_FORBIDDEN.sub("�", value), quote=True))


def tag(name: str, /, *children: str | None, **attributes: str | float | None) -> Markup:
    """An element. An attribute's underscores become dashes, one at its end is dropped (``class_``); None leaves it out.

    Numbers are written with two decimals at most.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*parts: str | None) -> Markup:
    """One after the other, escaped where they are not markup."""
    return Markup("".join(text(part) for part in parts if part is not None))


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
