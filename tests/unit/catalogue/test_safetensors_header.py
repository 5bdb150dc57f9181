"""Headers of safetensors files: what they count, and how broken ones are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from yunhe.catalogue.errors import BadWeights
from yunhe.catalogue.safetensors import HEADER_BYTES_MAX, header_length, totals_of


def tensor(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def header(**tensors: dict[str, Any]) -> bytes:
    return json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()


def test_bytes_and_elements_are_counted_by_format() -> None:
    totals = totals_of(
        header(
            head=tensor("BF16", [4, 8], 16, 80),
            body=tensor("F8_E4M3", [2, 8], 0, 16),
            body_scale_inv=tensor("F32", [2], 80, 88),
            nothing=tensor("F16", [0], 88, 88),
        ),
        88,
    )
    assert (totals.tensors, totals.bytes, totals.main_dtype) == (4, 88, "BF16")
    assert dict(totals.bytes_by_dtype) == {"BF16": 64, "F8_E4M3": 16, "F32": 8, "F16": 0}
    assert totals.elements == 4 * 8 + 2 * 8


def test_formats_of_less_than_a_byte_are_counted_in_bits() -> None:
    assert totals_of(header(packed=tensor("F4", [2, 8], 0, 8)), 8).elements == 16


@pytest.mark.parametrize(
    ("text", "data_bytes", "words"),
    [
        (b"[]", 0, "no table of tensors"),
        (b'{"a": 1}', 0, "no table of tensors"),
        (b"{" * 5000, 0, "no table of tensors"),
        (b"\xff\xfe", 0, "no table of tensors"),
        (header(a=tensor("F16", [-1], 0, 2)), 2, "no table of tensors"),
        (header(a=tensor("F16", [1] * 17, 0, 2)), 2, "no table of tensors"),
        (header(a=tensor("Q4_K", [2], 0, 4)), 4, "number format that is not known"),
        (header(a=tensor("F16", [2], 2, 6)), 6, "does not begin where"),
        (header(a=tensor("F16", [2], 0, 4), b=tensor("F16", [2], 2, 6)), 6, "does not begin where"),
        (header(a=tensor("F16", [2], 4, 0)), 4, "does not begin where"),
        (header(a=tensor("F16", [3], 0, 4)), 4, "its shape needs another"),
        (header(a=tensor("F16", [2**40, 2**40], 0, 4)), 4, "its shape needs another"),
        (header(a=tensor("F16", [2], 0, 4)), 3, "truncated: 3 bytes of tensors, its header names 4"),
        (header(a=tensor("F16", [2], 0, 4)), 5, "1 bytes more"),
    ],
)
def test_a_header_that_does_not_add_up_is_refused(text: bytes, data_bytes: int, words: str) -> None:
    with pytest.raises(BadWeights, match=words) as caught:
        totals_of(text, data_bytes)
    assert caught.value.next_step


def length(count: int) -> bytes:
    return count.to_bytes(8, "little")


@pytest.mark.parametrize(
    ("start", "file_bytes", "words"),
    [
        (b"", 0, "only 0 bytes"),
        (b"\0\0\0", 3, "only 3 bytes"),
        (length(0), 8, "header is empty"),
        (length(100), 50, "truncated inside the header"),
        (length(HEADER_BYTES_MAX + 1), 2**40, "not a safetensors file"),
        (b"version ", 200, "not a safetensors file"),
    ],
)
def test_a_length_that_cannot_be_is_refused_before_anything_is_read(start: bytes, file_bytes: int, words: str) -> None:
    with pytest.raises(BadWeights, match=words):
        header_length(start, file_bytes)


def test_a_header_may_fill_the_rest_of_the_file() -> None:
    assert header_length(length(42), 50) == 42
