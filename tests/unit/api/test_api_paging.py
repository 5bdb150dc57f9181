"""Cursors of lists."""

import pytest

from yunhe.api.paging import decode_cursor, encode_cursor
from yunhe.core.errors import InvalidRequest


@pytest.mark.parametrize("position", ["key_0199c0ffee007abc8def0123456789ab", "a/b", "节点-1", "1790000000.5|x"])
def test_a_cursor_gives_back_its_position(position: str) -> None:
    cursor = encode_cursor("keys", position)
    assert cursor is not None
    assert position not in cursor
    assert decode_cursor("keys", cursor) == position


def test_the_end_has_no_cursor() -> None:
    assert encode_cursor("keys", None) is None
    assert decode_cursor("keys", None) is None


@pytest.mark.parametrize("text", ["", "!", "key_1", "a" * 599, "=", "a2V5cw", "a2V5cyA", "\u00e9", "a2V5cyAAYQ"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_cursor("keys", text)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not valid"):
        decode_cursor("users", encode_cursor("keys", "key_1"))
