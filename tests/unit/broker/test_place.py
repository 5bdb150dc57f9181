from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from yunhe.broker.fit import OVERHEAD_BYTES, cache_bytes, memory_need_bytes
from yunhe.broker.place import (
    CardUse,
    CentreSupply,
    Demand,
    EngineOffer,
    NoFit,
    Placement,
    Supply,
    place,
)
from yunhe.catalogue.model import Model, Probe, Weights
from yunhe.catalogue.ports import Verdict
from yunhe.core.units import GIB, MIB
from yunhe.pool.model import Card, Centre, Node

MODEL = Model(
    id="model_1",
    name="m",
    architecture="llama",
    parameters=135_000_000,
    quantisation="q4_1",
    context_length=8192,
    licence="Apache-2.0",
    capabilities=("chat",),
    weights=Weights("gguf", "0" * 64, 98_362_432, "file:/m.gguf"),
    probe=Probe("x", None),
    chat_template=None,
    created_at=0.0,
    shape={"layers": 30, "kv_heads": 3, "head_size": 64},
)
NEED = memory_need_bytes(MODEL)
DEMAND = Demand(MODEL)


def card(uid: str = "cpu0", memory: int | None = 8 * GIB, health: str = "healthy", chip: str = "cpu-x") -> Card:
    return Card(uid, chip, "maker", "cpu", "Model", memory, health=health)  # type: ignore[arg-type]


def centre(
    name: str = "local",
    cards: tuple[Card, ...] = (card(),),
    online: bool = True,
    engines: tuple[EngineOffer, ...] = (EngineOffer("alpha"), EngineOffer("external")),
    node_memory: int | None = 8 * GIB,
) -> CentreSupply:
    node = Node(f"{name}-node", node_memory, 8, "linux", cards)
    return CentreSupply(Centre(f"centre_{name}", name, "local", 0.0), online, engines, (node,))


def refusal(demand: Demand, *centres: CentreSupply, **supply: object) -> NoFit:
    found = place(demand, Supply(centres, **supply))  # type: ignore[arg-type]
    assert isinstance(found, NoFit)
    return found


def test_the_cache_estimate_follows_its_formula() -> None:
    assert cache_bytes(MODEL) == 2 * 30 * 3 * 64 * 8192 * 2
    assert memory_need_bytes(replace(MODEL, shape={})) == int(98_362_432 * 1.1) + OVERHEAD_BYTES


def test_slots_context_and_width_of_the_cache_count_as_the_recipe_names_them() -> None:
    one = cache_bytes(MODEL)
    assert cache_bytes(MODEL, {"slots": 8}) == cache_bytes(MODEL, {"max_num_seqs": 8}) == 8 * one
    assert cache_bytes(MODEL, {"slots": 8, "context_length": 2048}) == 2 * one
    assert cache_bytes(MODEL, {"kv_type": "q8_0"}) == one * 17 // 32
    assert cache_bytes(MODEL, {"kv_cache_dtype": "auto"}) == one
    # What a running engine told counts where its recipe leaves it open.
    assert cache_bytes(MODEL, {}, slots=4) == 4 * one
    assert cache_bytes(MODEL, {"slots": 2}, slots=4) == 2 * one
    # Nonsense is the engine's to refuse; it must not end whoever places replicas.
    assert cache_bytes(MODEL, {"slots": "all", "context_length": -1}) == one
    assert cache_bytes(MODEL, {"slots": True, "context_length": 0.5}) == one


def test_a_recipe_with_more_slots_needs_a_larger_card() -> None:
    room = memory_need_bytes(MODEL) * 2
    supply = Supply((centre(cards=(card(memory=room),)),))
    assert isinstance(place(DEMAND, supply), Placement)
    found = place(Demand(MODEL, settings={"slots": 16}), supply)
    assert isinstance(found, NoFit)
    assert "needs about" in found.reason
    assert isinstance(place(Demand(MODEL, settings={"slots": 16, "context_length": 512}), supply), Placement)


def test_a_replica_takes_the_card_that_fits_and_an_engine_that_the_centre_has() -> None:
    found = place(DEMAND, Supply((centre(),)))
    assert isinstance(found, Placement)
    assert (found.centre, found.node, found.cards, found.chip, found.engine) == (
        "local",
        "local-node",
        ("cpu0",),
        "cpu-x",
        "alpha",
    )


def test_an_engine_that_is_behind_the_others_is_taken_only_when_it_is_named() -> None:
    there = centre(engines=(EngineOffer("alpha", rank=1), EngineOffer("beta")))
    for asked, got in (("any", "beta"), ("alpha", "alpha")):
        found = place(Demand(MODEL, engine=asked), Supply((there,)))
        assert isinstance(found, Placement) and found.engine == got


def test_without_any_centre_it_says_so() -> None:
    assert refusal(DEMAND).reason == "no centre has joined yet"


def test_each_refused_card_has_its_reason() -> None:
    cards = (
        card("sick", health="faulty"),
        card("lost", health="missing"),
        card("small", memory=100 * MIB),
        card("full"),
        card("dark", memory=None),
    )
    used = {("centre_local", "full"): CardUse(8 * GIB, 3)}
    told = {
        one.place.rsplit("/", 1)[1]: one
        for one in refusal(DEMAND, centre(cards=cards, node_memory=None), used=used).refused
    }
    assert "faulty" in told["sick"].reason
    assert "missing" in told["lost"].reason
    assert "the card has 100.0 MiB" in told["small"].reason
    assert "0 B of 8.0 GiB are free beside 3 replica(s)" in told["full"].reason
    assert told["dark"].reason == "its memory is unknown"
    assert {uid for uid, one in told.items() if one.for_room} == {"full"}


def test_a_centre_that_is_away_or_not_the_named_one_is_refused() -> None:
    told = refusal(Demand(MODEL, centre="b"), centre("a"), centre("b", online=False))
    assert [(one.place, one.reason) for one in told.refused] == [
        ("a", "the deployment asks for centre b"),
        ("b", "its agent has not joined yet"),
    ]


def test_an_engine_that_did_not_load_is_told_with_its_error() -> None:
    told = refusal(Demand(MODEL, engine="alpha"), centre(engines=(EngineOffer("alpha", "no wheel"),)))
    assert told.reason == "no place fits: local: alpha did not load: no wheel"
    assert "it has no engine beta" in refusal(Demand(MODEL, engine="beta"), centre()).reason


def test_verdicts_choose_the_engine_and_explain_the_refusal() -> None:
    both = centre(engines=(EngineOffer("alpha"), EngineOffer("beta")))
    no = Verdict(False, "needs avx512")
    found = place(DEMAND, Supply((both,), verdicts={("alpha", "cpu-x"): no, ("beta", "cpu-x"): Verdict(True)}))
    assert isinstance(found, Placement)
    assert found.engine == "beta"
    told = refusal(DEMAND, both, verdicts={("alpha", "cpu-x"): no, ("beta", "cpu-x"): no})
    assert "alpha does not support it: needs avx512; beta does not" in told.reason


def test_healthy_comes_before_degraded_and_empty_before_shared() -> None:
    cards = (card("a", health="degraded"), card("b"), card("c"))
    used = {("centre_local", "b"): CardUse(MIB, 1, 1)}
    found = place(DEMAND, Supply((centre(cards=cards),), used))
    assert isinstance(found, Placement)
    assert found.cards == ("c",)


def test_an_external_server_needs_no_card() -> None:
    found = place(Demand(MODEL, external=True), Supply((centre("a", online=False), centre("b", cards=()))))
    assert isinstance(found, Placement)
    assert (found.centre, found.engine, found.cards) == ("b", "external", ())


def test_many_equal_reasons_are_told_once() -> None:
    cards = tuple(card(f"c{n}", health="faulty") for n in range(100))
    assert len(refusal(DEMAND, centre(cards=cards)).reason) < 200


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8))
def test_a_place_found_always_has_the_memory(cards: list[tuple[int, int]]) -> None:
    supply = centre(cards=tuple(card(f"c{n}", memory * NEED) for n, (memory, _) in enumerate(cards)))
    used = {("centre_local", f"c{n}"): CardUse(taken * NEED, taken) for n, (_, taken) in enumerate(cards)}
    found = place(DEMAND, Supply((supply,), used))
    fits = [n for n, (memory, taken) in enumerate(cards) if memory - taken >= 1]
    if isinstance(found, Placement):
        assert int(found.cards[0][1:]) in fits
    else:
        assert not fits
