"""SPIFFE IDs: what the specification allows, to the letter, and nothing else."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x0mesh.identity.spiffe_id import MAX_ID_BYTES, SpiffeID, SpiffeIdError, TrustDomain

PATH_CHARACTERS = string.ascii_letters + string.digits + ".-_"
segments = st.text(PATH_CHARACTERS, min_size=1, max_size=20).filter(lambda s: s not in (".", ".."))
domains = st.text(string.ascii_lowercase + string.digits + ".-_", min_size=1, max_size=40)


@given(domains, st.lists(segments, max_size=5))
def test_what_is_built_from_allowed_characters_parses_and_prints_as_it_was(
    domain: str, path: list[str]
) -> None:
    text = f"spiffe://{domain}" + "".join(f"/{segment}" for segment in path)
    parsed = SpiffeID.parse(text)
    assert str(parsed) == text
    assert parsed.trust_domain == TrustDomain(domain)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe://",
        "spiffe:///a",
        "spiffe:/mesh.test/a",
        "SPIFFE://mesh.test/a",
        "http://mesh.test/a",
        "spiffe://Mesh.test/a",
        "spiffe://mesh.test:80/a",
        "spiffe://user@mesh.test/a",
        "spiffe://mesh%2etest/a",
        "spiffe://mesh.test/",
        "spiffe://mesh.test/a/",
        "spiffe://mesh.test//a",
        "spiffe://mesh.test/./a",
        "spiffe://mesh.test/a/..",
        "spiffe://mesh.test/%61",
        "spiffe://mesh.test/a?b",
        "spiffe://mesh.test/a#b",
        "spiffe://mesh.test/a\n",
        "spiffe://mesh.test\n",
        " spiffe://mesh.test/a",
        "spiffe://mesh.test/é",
        "spiffe://mésh.test/a",
        "spiffe://mesh.test/a\x00",
        "spiffe://[::1]/a",
    ],
)
def test_what_the_specification_forbids_is_refused(text: str) -> None:
    with pytest.raises(SpiffeIdError):
        SpiffeID.parse(text)


@pytest.mark.parametrize("name", ["1.2.3.4", "a_b", "-", "...", "a" * 255])
def test_odd_but_legal_trust_domains_are_accepted(name: str) -> None:
    assert SpiffeID.parse(f"spiffe://{name}/x").trust_domain.name == name


def test_the_path_is_case_sensitive() -> None:
    assert SpiffeID.parse("spiffe://m/A") != SpiffeID.parse("spiffe://m/a")


def test_2048_bytes_are_supported_and_not_one_more() -> None:
    longest = "spiffe://mesh.test/".ljust(MAX_ID_BYTES, "a")
    assert len(str(SpiffeID.parse(longest))) == 2048
    with pytest.raises(SpiffeIdError):
        SpiffeID.parse(longest + "a")
    with pytest.raises(SpiffeIdError):
        TrustDomain("a" * 256)


@pytest.mark.parametrize("code", range(256))
def test_every_character_alone_is_allowed_exactly_where_the_specification_says(code: int) -> None:
    character = chr(code)
    in_path = character in string.ascii_letters + string.digits + "-_"
    in_domain = character in string.ascii_lowercase + string.digits + ".-_"
    assert _parses(f"spiffe://m/{character}") == in_path
    assert _parses(f"spiffe://m/x{character}") == (in_path or character == ".")
    # A slash ends the domain, and its path is then an allowed one.
    assert _parses(f"spiffe://x{character}x") == (in_domain or character == "/")


@given(st.text(max_size=60) | st.text("spife:/.m%A\n", max_size=60).map("spiffe://".__add__))
def test_any_text_is_an_id_or_one_typed_error(text: str) -> None:
    with contextlib.suppress(SpiffeIdError):
        assert str(SpiffeID.parse(text)) == text


def _parses(text: str) -> bool:
    try:
        SpiffeID.parse(text)
    except SpiffeIdError:
        return False
    return True
