"""Tokens: what goes in comes out, anything else is refused, older keys still read."""

from __future__ import annotations

import base64
import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tokens import MAX_EXECUTION, MAX_TARGET_BYTES, LinkClaims, Tokens

TOKENS = Tokens(["the first secret of this test, long enough"])
LEAD = UUID("11111111-2222-4333-8444-555555555555")
ENROLLMENT = UUID("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")

claims_strategy = st.builds(
    LinkClaims,
    organization_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    lead_id=st.uuids(),
    enrollment_id=st.uuids(),
    execution=st.integers(1, 2**40),
    channel=st.sampled_from(["email", "sms", "whatsapp", "webhook"]),
    kind=st.sampled_from(["open", "click", "unsubscribe"]),
    target=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    sequence_id=st.none() | st.uuids(),
)


def claims(**changes: object) -> LinkClaims:
    values: dict[str, object] = {
        "organization_id": "demo",
        "lead_id": LEAD,
        "enrollment_id": ENROLLMENT,
        "execution": 3,
        "channel": "email",
        "kind": "click",
        "target": "https://example.com/a?b=c",
    }
    return LinkClaims(**(values | changes))  # type: ignore[arg-type]  # the table's values are of mixed types


@given(claims_strategy)
def test_a_link_token_reads_back_as_what_was_put_in(wanted: LinkClaims) -> None:
    token = TOKENS.link_token(wanted)
    assert TOKENS.read_link(token) == wanted
    assert set(token) <= set(string.ascii_letters + string.digits + "-_")
    assert TOKENS.link_token(wanted) == token


@given(st.data())
def test_a_link_token_with_any_bit_flipped_is_refused(data: st.DataObject) -> None:
    token = TOKENS.link_token(claims())
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    assert TOKENS.read_link(base64.urlsafe_b64encode(raw).rstrip(b"=").decode()) is None


@given(st.data())
def test_a_token_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    token = data.draw(
        st.sampled_from(
            [TOKENS.link_token(claims()), TOKENS.link_token(claims(target=None)), TOKENS.address_token(ENROLLMENT, 7)]
        )
    )
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(string.ascii_lowercase + string.digits + "-_="))
    changed = token[:place] + other + token[place + 1 :]
    if changed.lower() != token.lower():
        assert TOKENS.read_link(changed) is None
        assert TOKENS.read_address(changed) is None


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_anything_else_is_refused_and_nothing_is_raised(text: str) -> None:
    assert TOKENS.read_link(text) is None
    assert TOKENS.read_address(text) is None


@given(st.uuids(), st.integers(1, MAX_EXECUTION), st.booleans())
def test_an_address_token_reads_back_in_any_case(enrollment_id: UUID, execution: int, upper: bool) -> None:
    token = TOKENS.address_token(enrollment_id, execution)
    assert len(token) == 47
    assert token == token.lower()
    assert TOKENS.read_address(token.upper() if upper else token) == (enrollment_id, execution)


def test_the_two_kinds_are_not_taken_for_each_other() -> None:
    assert TOKENS.read_address(TOKENS.link_token(claims())) is None
    assert TOKENS.read_link(TOKENS.address_token(ENROLLMENT, 1)) is None


def test_a_key_put_in_front_signs_and_the_older_ones_still_read() -> None:
    old, rotated = Tokens(["old"]), Tokens(["newest", "newer", "old"])
    link, address = old.link_token(claims()), old.address_token(ENROLLMENT, 5)
    assert rotated.read_link(link) == claims()
    assert rotated.read_address(address) == (ENROLLMENT, 5)
    assert Tokens(["newest"]).read_link(rotated.link_token(claims())) == claims()
    assert old.read_link(rotated.link_token(claims())) is None
    assert old.read_address(rotated.address_token(ENROLLMENT, 5)) is None


def test_keys_that_share_an_id_are_all_tried() -> None:
    many = [f"secret {n}" for n in range(300)]  # one byte of id: some must meet
    rotated = Tokens(many)
    for secret in many:
        assert rotated.read_address(Tokens([secret]).address_token(ENROLLMENT, 9)) == (ENROLLMENT, 9)
        assert rotated.read_link(Tokens([secret]).link_token(claims())) == claims()


def test_a_link_token_is_short_and_hides_its_target() -> None:
    token = TOKENS.link_token(
        claims(
            target="https://example.com/pricing?utm_source=tendril&utm_medium=email&utm_campaign=welcome",
            sequence_id=LEAD,
        )
    )
    assert len(token) < 230
    assert "example" not in token
    assert b"example" not in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


@pytest.mark.parametrize("keys", [[], [""], ["good", ""]])
def test_missing_keys_are_refused(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="secret_keys"):
        Tokens(keys)


@pytest.mark.parametrize("execution", [0, -1, MAX_EXECUTION + 1])
def test_an_execution_that_does_not_fit_an_address_is_refused(execution: int) -> None:
    with pytest.raises(ValueError, match="execution"):
        TOKENS.address_token(ENROLLMENT, execution)


def test_an_oversized_target_is_refused() -> None:
    with pytest.raises(ValueError, match="target"):
        TOKENS.link_token(claims(target="https://example.com/" + "a" * MAX_TARGET_BYTES))
