from hypothesis import given
from hypothesis import strategies as st

from yunhe.adapt.candidates import candidates, settings_key
from yunhe.catalogue.ports import SettingsSpace

SPACE = SettingsSpace({"slots": (4, 1, 8), "cache": ("f16", "q8"), "flash": ("auto", "on", "off")})


def test_the_defaults_come_first_and_every_setting_occurs_once() -> None:
    found = candidates({"engine": SPACE})
    assert found[0].settings == {"slots": 4, "cache": "f16", "flash": "auto"}
    changed = [sum(one.settings[name] != found[0].settings[name] for name in SPACE.choices) for one in found]
    assert changed == sorted(changed)
    assert len(found) == len({one.id for one in found}) == 18


def test_constraints_canonical_settings_and_scores_shape_the_candidates() -> None:
    found = candidates(
        {"engine": SPACE},
        constraint=lambda _, chosen: (
            "a small cache needs flash" if chosen["cache"] == "q8" and chosen["flash"] == "off" else ""
        ),
        canonical=lambda _, chosen: {**chosen, "flash": "on" if chosen["flash"] == "auto" else chosen["flash"]},
        numerics=lambda engine, chosen: f"{engine} {chosen['cache']}",
        scores=lambda ones: [float(str(one.settings["slots"])) for one in ones],
    )
    # Three slots, two caches, flash on or off; less the three that do not go together.
    assert len(found) == 9
    assert [one.score for one in found] == [8.0] * 3 + [4.0] * 3 + [1.0] * 3
    assert {one.numerics for one in found} == {"engine f16", "engine q8"}


def test_two_engines_with_equal_settings_are_two_candidates_and_a_limit_holds() -> None:
    found = candidates({"a": SPACE, "b": SPACE}, limit=5)
    assert [one.engine for one in found[:2]] == ["a", "b"]
    assert len(found) == 5
    assert candidates({"none": SettingsSpace({})})[0].settings == {}
    assert candidates({}) == []


@given(st.dictionaries(st.text(), st.one_of(st.booleans(), st.integers(-(2**40), 2**40), st.text()), max_size=5))
def test_the_key_of_settings_does_not_depend_on_their_order(chosen: dict[str, str | int | float | bool]) -> None:
    assert settings_key(chosen) == settings_key(dict(reversed(chosen.items())))
    as_floats = {n: float(v) if isinstance(v, int) and not isinstance(v, bool) else v for n, v in chosen.items()}
    assert settings_key(as_floats) == settings_key(chosen)


def test_true_is_not_one() -> None:
    assert settings_key({"a": True}) != settings_key({"a": 1})
