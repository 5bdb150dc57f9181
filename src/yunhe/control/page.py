"""A piece of a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list; ``next`` continues it, None ends it."""

    items: tuple[T, ...]
    next: str | None


def page_of(items: Sequence[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """A page from up to ``limit`` + 1 items: the extra one only tells that there is more."""
    shown = tuple(items[:limit])
    return Page(shown, cursor(shown[-1]) if len(items) > limit and shown else None)


def cut(items: Sequence[T], limit: int, after: str | None, cursor: Callable[[T], str]) -> Page[T]:
    """A page of a short list that is wholly in memory; an unknown cursor starts after everything."""
    start = 0
    if after is not None:
        start = next((n + 1 for n, item in enumerate(items) if cursor(item) == after), len(items))
    return page_of(items[start : start + limit + 1], limit, cursor)
