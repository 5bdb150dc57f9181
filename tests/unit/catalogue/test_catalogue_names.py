from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.catalogue.names import check_model_name, check_plain_name, model_name_of, plain_name_of
from yunhe.core.errors import InvalidRequest


@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "org/model-1.5b", "a", "a_b.c/d-e"])
def test_good_model_names_pass(name: str) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "a-", "a//b", "/a", "a/", "../a", "a b", "a\n", "a/../b", "模型", "a" * 129]
)
def test_bad_model_names_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_model_name(name)
    assert caught.value.details["fields"]


def test_a_deployment_name_has_no_slash() -> None:
    with pytest.raises(InvalidRequest):
        check_plain_name("a/b")
    assert plain_name_of("org/model-1.5b") == "org-model-1.5b"


@given(st.text(max_size=200))
def test_a_name_made_of_any_file_name_is_good_or_empty(stem: str) -> None:
    name = model_name_of(stem)
    assert name == "" or check_model_name(name) == name
