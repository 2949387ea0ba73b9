"""The embedded authority: what its SVIDs promise, what it will not sign, what it revokes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509

from x0mesh.identity.authority import Authority, AuthorityError
from x0mesh.identity.bundle import TrustBundle, TrustBundles
from x0mesh.identity.certificate import unix_ns
from x0mesh.identity.refusal import Refusal
from x0mesh.identity.revocation import RevocationList, Revocations
from x0mesh.identity.spiffe_id import SpiffeID, TrustDomain
from x0mesh.identity.svid import X509Svid
from x0mesh.identity.verifier import verify

S = 1_000_000_000
MESH = TrustDomain("mesh.test")
A = SpiffeID(MESH, "/node/a")


def test_an_svid_carries_its_id_and_verifies_against_the_bundle(
    authority: Authority, clock: Any
) -> None:
    svid = authority.issue(A)
    verified = verify(
        svid.chain_der, TrustBundles([authority.bundle()]), Revocations(), clock.now_ns, A
    )
    assert verified.spiffe_id == svid.spiffe_id == A
    assert verified.fingerprint == svid.fingerprint
    assert verified.expires_ns == svid.expires_ns == clock.now_ns + 3600 * S


@pytest.mark.parametrize(("asked_s", "given_s"), [(2.5, 2), (60, 60), (7200, 3600)])
def test_an_svid_ends_when_asked_but_never_after_an_hour(
    authority: Authority, clock: Any, asked_s: float, given_s: int
) -> None:
    svid = authority.issue(A, round(asked_s * S))
    assert svid.expires_ns == clock.now_ns + given_s * S
    assert clock.now_ns - unix_ns(svid.leaf.not_valid_before_utc) == 10 * S


def test_no_svid_outlives_its_authority(authority: Authority, clock: Any) -> None:
    clock.now_ns += 86_400 * S - 60 * S
    assert authority.issue(A).expires_ns == clock.now_ns + 60 * S
    clock.now_ns += 60 * S
    with pytest.raises(AuthorityError):
        authority.issue(A)


@pytest.mark.parametrize("text", ["spiffe://other.test/node/a", "spiffe://mesh.test"])
def test_only_workloads_of_its_own_domain_are_signed(authority: Authority, text: str) -> None:
    with pytest.raises(AuthorityError):
        authority.issue(SpiffeID.parse(text))


@pytest.mark.parametrize("ttl_ns", [0, -1, S // 2])
def test_an_svid_over_before_it_starts_is_an_error(authority: Authority, ttl_ns: int) -> None:
    with pytest.raises(AuthorityError):
        authority.issue(A, ttl_ns)


def test_serial_numbers_come_from_the_given_source_and_keys_do_not(clock: Any) -> None:
    one, two = (Authority(MESH, clock, lambda n: b"\x07" * n).issue(A) for _ in range(2))
    assert one.leaf.serial_number == two.leaf.serial_number
    assert one.key_der() != two.key_der()


def test_a_revoked_svid_is_refused_by_whoever_has_the_list(
    authority: Authority, clock: Any, refusal_of: Callable[..., Any]
) -> None:
    bad, good = authority.issue(A), authority.issue(A)
    bundle = authority.bundle()
    authority.revoke(bad.leaf)
    revocations = Revocations([RevocationList.from_der(authority.revocation_list(), bundle)])

    def judge(svid: X509Svid) -> object:
        return verify(svid.chain_der, TrustBundles([bundle]), revocations, clock.now_ns)

    assert refusal_of(lambda: judge(bad)) is Refusal.REVOKED
    judge(good)


def test_an_older_list_does_not_undo_a_revocation(authority: Authority, clock: Any) -> None:
    svid = authority.issue(A)
    before = RevocationList.from_der(authority.revocation_list(), authority.bundle())
    authority.revoke(svid.leaf)
    after = RevocationList.from_der(authority.revocation_list(), authority.bundle())
    revocations = Revocations([before])
    assert revocations.add(after)
    assert not revocations.add(before)
    assert revocations.is_revoked(MESH, svid.chain)


def test_each_list_is_later_than_the_last_though_the_clock_stands_still(
    authority: Authority,
) -> None:
    lists = [x509.load_der_x509_crl(authority.revocation_list()) for _ in range(3)]
    times = [parsed.last_update_utc for parsed in lists]
    assert times == sorted(set(times))


def test_entries_leave_the_list_long_after_their_certificate_ended(
    authority: Authority, clock: Any
) -> None:
    authority.revoke(authority.issue(A).leaf)
    clock.now_ns += 3601 * S
    assert len(_serials(authority)) == 1
    clock.now_ns += 3600 * S
    assert not _serials(authority)


def test_a_list_of_another_authority_is_refused(
    authority: Authority, clock: Any, refusal_of: Callable[..., Any]
) -> None:
    stranger = Authority(MESH, clock).revocation_list()
    refusal = refusal_of(lambda: RevocationList.from_der(stranger, authority.bundle()))
    assert refusal is Refusal.UNKNOWN_AUTHORITY


def test_a_list_signed_by_another_key_under_the_same_name_is_refused(
    clock: Any, refusal_of: Callable[..., Any]
) -> None:
    one, two = (Authority(MESH, clock, lambda n: b"\x07" * n) for _ in range(2))
    refusal = refusal_of(lambda: RevocationList.from_der(two.revocation_list(), one.bundle()))
    assert refusal is Refusal.UNKNOWN_AUTHORITY


def test_another_authoritys_certificate_cannot_be_revoked(authority: Authority, clock: Any) -> None:
    with pytest.raises(AuthorityError):
        authority.revoke(Authority(MESH, clock).issue(A).leaf)


def test_bundles_of_one_domain_are_never_merged(
    authority: Authority, clock: Any, refusal_of: Callable[..., Any]
) -> None:
    other = Authority(MESH, clock).bundle()
    assert refusal_of(lambda: TrustBundles([authority.bundle(), other])) is Refusal.MALFORMED


def test_bundles_and_svids_survive_the_trip_as_bytes(authority: Authority) -> None:
    bundle, svid = authority.bundle(), authority.issue(A)
    assert TrustBundle.from_der(MESH, bundle.to_der()) == bundle
    assert TrustBundle.from_pem(MESH, bundle.to_pem()) == bundle
    for copy in (
        X509Svid.from_der(svid.chain_der, svid.key_der()),
        X509Svid.from_pem(svid.pem()),
    ):
        assert copy.fingerprint == svid.fingerprint
        assert copy.key_der() == svid.key_der()


def test_a_leaf_is_no_authority(authority: Authority, refusal_of: Callable[..., Any]) -> None:
    leaf = authority.issue(A).chain_der
    assert refusal_of(lambda: TrustBundle.from_der(MESH, leaf)) is Refusal.MALFORMED


def test_a_key_that_is_not_the_leafs_is_refused(
    authority: Authority, refusal_of: Callable[..., Any]
) -> None:
    one, two = authority.issue(A), authority.issue(A)
    refusal = refusal_of(lambda: X509Svid.from_der(one.chain_der, two.key_der()))
    assert refusal is Refusal.MALFORMED


def _serials(authority: Authority) -> frozenset[int]:
    return RevocationList.from_der(authority.revocation_list(), authority.bundle()).serials
