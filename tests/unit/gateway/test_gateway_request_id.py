"""Request ids."""

from yunhe.core.ids import is_id
from yunhe.gateway.request_id import new_request_id


def test_request_ids_have_the_house_shape_and_do_not_repeat() -> None:
    made = [new_request_id() for _ in range(10_000)]
    assert all(is_id(one, "req") for one in made)
    assert len(set(made)) == len(made)
    assert [one[:19] for one in made] == sorted(one[:19] for one in made)
