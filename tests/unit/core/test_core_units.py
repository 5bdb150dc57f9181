import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.core.units import bytes_text, credits_text, parse_credits


@given(st.integers(-(10**18), 10**18))
def test_credits_survive_being_written_and_read(micro: int) -> None:
    assert parse_credits(credits_text(micro)) == micro


@pytest.mark.parametrize(("text", "micro"), [("1.5", 1_500_000), ("0.000001", 1), ("1,000", 10**9), ("-2", -2_000_000)])
def test_credits_are_read_as_people_write_them(text: str, micro: int) -> None:
    assert parse_credits(text) == micro


@pytest.mark.parametrize("text", ["", "a", "0.0000001", "nan", "inf", "1.2.3"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="credits"):
        parse_credits(text)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (98_362_432, "93.8 MiB"), (2**50, "1024.0 TiB")]
)
def test_bytes_are_written_for_people(count: int, text: str) -> None:
    assert bytes_text(count) == text
