"""The rule of credentials."""

from hypothesis import given
from hypothesis import strategies as st

from yunhe.accounts.keys import digest, make_text, matches, prefix_of

PEPPER = bytes(range(32))
RANDOM = st.binary(min_size=40, max_size=40)


@given(RANDOM, st.sampled_from(["yh", "ys", "ya", "yj"]))
def test_every_minted_credential_is_read_back_and_only_as_its_kind(random: bytes, kind: str) -> None:
    text, prefix = make_text(kind, random)
    assert prefix_of(text, kind) == prefix
    assert len(prefix) == 12
    for other in {"yh", "ys", "ya", "yj"} - {kind}:
        assert prefix_of(text, other) is None
    assert matches(PEPPER, text, digest(PEPPER, text))


@given(RANDOM)
def test_the_secret_stands_neither_in_the_prefix_nor_in_the_digest(random: bytes) -> None:
    text, prefix = make_text("yh", random)
    secret = text.split("_", 2)[2]
    assert len(secret) == 43
    assert secret not in digest(PEPPER, text)
    assert prefix in text


@given(RANDOM, st.integers(0, 55))
def test_a_changed_character_no_longer_matches(random: bytes, at: int) -> None:
    text, _ = make_text("yh", random)
    stored = digest(PEPPER, text)
    changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
    assert not matches(PEPPER, changed, stored)


def test_another_pepper_gives_another_digest() -> None:
    text, _ = make_text("yh", bytes(40))
    assert not matches(b"other", text, digest(PEPPER, text))


def test_text_that_is_no_credential_has_no_prefix() -> None:
    text, _ = make_text("yh", bytes(40))
    for wrong in (
        "",
        "yh",
        "yh__",
        text[:-1],
        text + "x",
        text.upper(),
        text.replace("_", "-"),
        "\n" + text,
        text + "\n",
    ):
        assert prefix_of(wrong) is None
