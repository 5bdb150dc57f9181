import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.adapt.canonical import (
    DEPTH_MAX,
    DOCUMENT_BYTES_MAX,
    INTEGER_MAX,
    NotCanonical,
    canonical_bytes,
    content_id,
    is_content_id,
    number_text,
    read_canonical,
    read_json,
)

#: Surrogates have no UTF-8.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(-INTEGER_MAX, INTEGER_MAX) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("bits", "text"),
    # RFC 8785, appendix B.
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_written_as_the_standard_says(bits: str, text: str) -> None:
    assert number_text(struct.unpack(">d", bytes.fromhex(bits))[0]) == text


def test_members_are_sorted_by_utf16_code_units_and_text_is_escaped_least() -> None:
    # A face beyond the basic plane has surrogates (d83d...) that sort before U+FB33, though its code point is larger.
    value = {"\ufb33": 1, "\U0001f600": 2, "b": [True, None, 1.0], "a": 'q" \\ \n \x1f \x7f é / €'}
    expected = '{"a":"q\\" \\\\ \\n \\u001f \x7f é / €","b":[true,null,1],"\U0001f600":2,"\ufb33":1}'
    assert canonical_bytes(value) == expected.encode()


@given(VALUES)
def test_every_value_reads_back_from_its_canonical_form(value: object) -> None:
    data = canonical_bytes(value)  # type: ignore[arg-type]
    assert read_canonical(data) == value
    assert canonical_bytes(read_canonical(data)) == data


@given(VALUES, st.sampled_from([None, 1, 3]), st.booleans(), st.booleans())
def test_layout_and_order_of_members_do_not_change_the_form(
    value: object, indent: int | None, ascii_only: bool, backwards: bool
) -> None:
    def turned(item: object) -> object:
        if isinstance(item, dict):
            return {name: turned(item[name]) for name in reversed(item)}
        return [turned(one) for one in item] if isinstance(item, list) else item

    text = json.dumps(turned(value) if backwards else value, indent=indent, ensure_ascii=ascii_only)
    assert canonical_bytes(read_json(text.encode())) == canonical_bytes(value)  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_survives_and_no_shorter_text_of_it_exists(value: float) -> None:
    text = number_text(value)
    assert float(text) == value
    digits = len(text.split("e")[0].lstrip("-").replace(".", "").strip("0"))
    assert digits <= 17
    assert digits < 2 or float(f"{value:.{digits - 2}e}") != value


@given(st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_what_is_accepted_as_canonical_is_written_the_same(data: bytes) -> None:
    try:
        value = read_canonical(data)
    except NotCanonical:
        return
    assert canonical_bytes(value) == data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":1}', "'a' comes twice"),
        (b'{"a":{"b":1,"c":2,"b":3}}', "'b' comes twice"),
        (b'{"a":1,"\\u0061":2}', "'a' comes twice"),
        (b"NaN", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"1e999", "beyond a double"),
        (b"1" * 400, "beyond a double"),
        (b"", "not JSON"),
        (b"{} {}", "not JSON"),
        (b'"\x01"', "not JSON"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b'"\xed\xa0\x80"', "is not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[" * 100_000, "nested deeper"),
        (b" " * (DOCUMENT_BYTES_MAX + 1), "bytes, at most"),
    ],
)
def test_reading_is_strict(data: bytes, why: str) -> None:
    with pytest.raises(NotCanonical, match=why):
        read_json(data)


@pytest.mark.parametrize(
    "data",
    [b"{} ", b"{}\n", b' "a"', b'{"b":1,"a":2}', b"1.0", b"1E2", b"1e2", b"-0", b'"\\u0041"', b'"\\/"', b'{"a": 1}',
     b"0.0000001", b"9007199254740993", b'"\\u001F"', b"100e-2"],
)  # fmt: skip
def test_json_in_another_layout_is_read_but_not_canonical(data: bytes) -> None:
    read_json(data)
    with pytest.raises(NotCanonical, match="not in canonical form from byte"):
        read_canonical(data)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(NotCanonical, match="surrogate"):
        read_canonical(b'"\\ud800"')
    with pytest.raises(NotCanonical, match="surrogate"):
        canonical_bytes({"\ud800": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, INTEGER_MAX + 1, {1: 2}, {"a": {1, 2}}, b"bytes"])
def test_values_without_a_canonical_form_are_refused(value: object) -> None:
    with pytest.raises(NotCanonical):
        canonical_bytes(value)  # type: ignore[arg-type]


def test_depth_and_size_are_bounded() -> None:
    value: list[object] = []
    for _ in range(DEPTH_MAX):
        value = [value]
    assert read_canonical(canonical_bytes(value)) == value  # type: ignore[arg-type]
    with pytest.raises(NotCanonical, match="nested deeper"):
        canonical_bytes([value])  # type: ignore[list-item]
    with pytest.raises(NotCanonical, match="bytes, at most"):
        canonical_bytes("x" * DOCUMENT_BYTES_MAX)


def test_the_content_id_is_the_sha256_of_the_bytes() -> None:
    empty = "rcp_44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert content_id(canonical_bytes({})) == empty
    assert is_content_id(empty)
    for wrong in (empty[:-1], empty + "0", empty.upper(), empty + "\n", "key_" + empty[4:]):
        assert not is_content_id(wrong)
