import json
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.adapt.canonical import canonical_bytes, content_id
from yunhe.adapt.recipe_document import recipe_id
from yunhe.adapt.signing import (
    CLOCK_SKEW_S,
    NEXT_STEPS,
    Refusal,
    Revocation,
    SigningKey,
    Trust,
    TrustedKey,
    Verdict,
    check,
    key_id,
    sign,
)
from yunhe.testing.recipes import MADE_AT_UNIX_S, sample_recipe

DAY_S = 86_400.0
NOW = MADE_AT_UNIX_S + 10 * DAY_S
KEY = SigningKey(bytes(range(32)))
STRANGER = SigningKey(bytes(range(1, 33)))
RECIPE = sample_recipe()
ENVELOPE = sign(RECIPE, KEY)
#: Order of the group of Ed25519 (RFC 8032, section 5.1).
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def trust(**changes: Any) -> Trust:
    """Trusts KEY from a day before the recipe was made, unless changed."""
    known = TrustedKey(
        name="Centre of tests", public_key=KEY.public_key.hex(), valid_from_unix_s=MADE_AT_UNIX_S - DAY_S
    )
    return Trust(keys={KEY.id: msgspec.structs.replace(known, **changes)})


TRUST = trust()


def altered(**changes: Any) -> bytes:
    """The envelope with members put in another's place, still canonical."""
    return canonical_bytes(json.loads(ENVELOPE) | changes)


def refused(verdict: Verdict, refusal: Refusal, why: str) -> None:
    assert (verdict.accepted, verdict.refusal, verdict.recipe) == (False, refusal, None)
    assert why in verdict.reason
    assert verdict.next_step == NEXT_STEPS[refusal]


def test_what_a_trusted_key_signed_is_accepted_as_it_was() -> None:
    verdict = check(ENVELOPE, TRUST, NOW)
    assert (verdict.accepted, verdict.recipe, verdict.signed_by) == (True, RECIPE, "Centre of tests")
    assert verdict.recipe_id == recipe_id(RECIPE)
    assert verdict.reason == "signed by Centre of tests, unaltered"


def test_keys_and_signatures_are_those_of_the_standard() -> None:
    # RFC 8032, section 7.1, tests 1 and 2.
    key = SigningKey(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert key.public_key.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.signature(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")
    assert key.id == key_id(key.public_key) == "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9"


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_a_flip_in_any_byte_is_refused(mask: int) -> None:
    believed = []
    for place in range(len(ENVELOPE)):
        flipped = bytearray(ENVELOPE)
        flipped[place] ^= mask
        if check(bytes(flipped), TRUST, NOW).accepted:
            believed.append(place)
    assert believed == []


def test_a_missing_or_doubled_byte_anywhere_is_refused() -> None:
    believed = []
    for place in range(len(ENVELOPE)):
        shorter = ENVELOPE[:place] + ENVELOPE[place + 1 :]
        longer = ENVELOPE[:place] + ENVELOPE[place : place + 1] + ENVELOPE[place:]
        believed += [place for data in (shorter, longer) if check(data, TRUST, NOW).accepted]
    assert believed == []


@given(st.integers(0, len(ENVELOPE)), st.integers(0, 8), st.binary(max_size=8))
def test_any_other_bytes_in_place_of_some_are_refused(place: int, cut: int, inserted: bytes) -> None:
    data = ENVELOPE[:place] + inserted + ENVELOPE[place + cut :]
    assert check(data, TRUST, NOW).accepted == (data == ENVELOPE)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_check_raise(data: bytes) -> None:
    refused(check(data, TRUST, NOW), "malformed", "")


@pytest.mark.parametrize("space", [b"\n", b" "])
def test_white_space_around_the_envelope_is_refused(space: bytes) -> None:
    refused(check(ENVELOPE + space, TRUST, NOW), "malformed", f"not in canonical form from byte {len(ENVELOPE)}")
    refused(check(space + ENVELOPE, TRUST, NOW), "malformed", "not in canonical form from byte 0")


def test_the_same_content_in_another_layout_is_refused() -> None:
    refused(check(json.dumps(json.loads(ENVELOPE), indent=2).encode(), TRUST, NOW), "malformed", "not in canonical")


def test_a_second_member_of_the_same_name_is_refused() -> None:
    doubled = ENVELOPE[:-1] + b',"signature":"00"}'
    refused(check(doubled, TRUST, NOW), "malformed", "'signature' comes twice")


@pytest.mark.parametrize("part", ["model", "engine", "measurements", "fidelity", "made_by", "parent_recipe_id"])
def test_a_recipe_without_one_of_its_members_is_malformed(part: str) -> None:
    rest = {name: value for name, value in json.loads(ENVELOPE)["recipe"].items() if name != part}
    refused(check(altered(recipe=rest), TRUST, NOW), "malformed", f"missing required field `{part}`")


def test_a_member_that_the_schema_does_not_know_is_malformed() -> None:
    refused(check(altered(note="trust me"), TRUST, NOW), "malformed", "unknown field `note`")


def test_changed_content_is_told_by_its_id() -> None:
    recipe = json.loads(ENVELOPE)["recipe"]
    recipe["settings"]["threads"] = 9
    verdict = check(altered(recipe=recipe), TRUST, NOW)
    refused(verdict, "altered", f"the envelope says {recipe_id(RECIPE)}")
    assert verdict.recipe_id is None


def test_changed_content_with_its_id_made_anew_is_told_by_the_signature() -> None:
    recipe = json.loads(ENVELOPE)["recipe"]
    recipe["settings"]["threads"] = 9
    name = content_id(canonical_bytes(recipe))
    refused(check(altered(recipe=recipe, recipe_id=name), TRUST, NOW), "altered", "signature is not one of Centre of")


def test_a_signature_that_only_loose_verifiers_take_is_refused() -> None:
    # S + L gives a second signature of the same content wherever S < L is not checked (RFC 8032, section 8.4).
    signature = bytes.fromhex(json.loads(ENVELOPE)["signature"])
    second = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    forged = signature[:32] + second.to_bytes(32, "little")
    refused(check(altered(signature=forged.hex()), TRUST, NOW), "altered", "signature")


def test_hexadecimal_has_one_form() -> None:
    signature = json.loads(ENVELOPE)["signature"]
    for other in (signature.upper(), signature + "\n", signature[:-2], signature + "00"):
        refused(check(altered(signature=other), TRUST, NOW), "malformed", "signature")


def test_a_strangers_signature_is_refused_by_the_keys_id() -> None:
    verdict = check(sign(RECIPE, STRANGER), TRUST, NOW)
    refused(verdict, "unknown_key", STRANGER.id)
    assert verdict.signed_by is None


def test_a_stranger_who_claims_a_trusted_key_is_refused() -> None:
    claimed = json.loads(sign(RECIPE, STRANGER)) | {"key_id": KEY.id}
    refused(check(canonical_bytes(claimed), TRUST, NOW), "altered", "not one of Centre of tests")


def test_an_empty_trust_list_believes_nobody() -> None:
    refused(check(ENVELOPE, Trust(keys={}), NOW), "unknown_key", KEY.id)


def test_a_revoked_key_refuses_from_its_revocation_on_whatever_the_recipe_says_of_its_date() -> None:
    revoked = trust(revoked=Revocation(at_unix_s=NOW, why="the laptop was stolen"))
    assert check(ENVELOPE, revoked, NOW - 1).accepted
    verdict = check(ENVELOPE, revoked, NOW)
    refused(verdict, "revoked_key", "revoked on 2026-10-01 14:13 UTC: the laptop was stolen")
    assert verdict.signed_by == "Centre of tests"


def test_a_key_holds_from_its_first_second_to_before_its_last() -> None:
    window = trust(valid_from_unix_s=MADE_AT_UNIX_S + DAY_S, valid_until_unix_s=MADE_AT_UNIX_S + 3 * DAY_S)
    refused(check(ENVELOPE, window, MADE_AT_UNIX_S + DAY_S - 1), "not_yet_valid", "holds from 2026-09-22")
    assert check(ENVELOPE, window, MADE_AT_UNIX_S + DAY_S).accepted
    assert check(ENVELOPE, window, MADE_AT_UNIX_S + 3 * DAY_S - 1).accepted
    refused(check(ENVELOPE, window, MADE_AT_UNIX_S + 3 * DAY_S), "expired", "held until 2026-09-24")


def test_a_recipe_from_the_future_is_refused_beyond_what_clocks_differ() -> None:
    assert check(ENVELOPE, TRUST, MADE_AT_UNIX_S - CLOCK_SKEW_S).accepted
    refused(check(ENVELOPE, TRUST, MADE_AT_UNIX_S - CLOCK_SKEW_S - 1), "not_yet_valid", "yet to come")


def test_one_recipe_can_be_taken_back_while_its_key_holds() -> None:
    taken_back = Revocation(at_unix_s=NOW, why="crashes under load")
    listed = msgspec.structs.replace(TRUST, revoked_recipes={recipe_id(RECIPE): taken_back})
    assert check(ENVELOPE, listed, NOW - 1).accepted
    refused(check(ENVELOPE, listed, NOW), "revoked_recipe", "crashes under load")


@pytest.mark.parametrize("where", ["envelope", "recipe"])
def test_another_schema_is_named_beside_the_one_that_is_read(where: str) -> None:
    document = json.loads(ENVELOPE)
    (document if where == "envelope" else document["recipe"])["schema"] = "yunhe.later/2"
    refused(check(canonical_bytes(document), TRUST, NOW), "wrong_schema", "'yunhe.later/2', this release reads")


def test_a_trust_list_refuses_a_key_under_anothers_id() -> None:
    entry = TRUST.keys[KEY.id]
    with pytest.raises(ValueError, match="not the one of the id"):
        Trust(keys={STRANGER.id: entry})


def test_a_trust_list_survives_being_written() -> None:
    assert msgspec.json.decode(msgspec.json.encode(TRUST), type=Trust) == TRUST


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_is_made_of_exactly_32_random_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        SigningKey(bytes(length))


def test_a_signing_key_does_not_show_itself() -> None:
    secret = bytes(range(32))
    assert secret.hex() not in repr(KEY)
    assert repr(secret) not in repr(KEY)
    with pytest.raises(TypeError, match="not copied or written"):
        pickle.dumps(KEY)
