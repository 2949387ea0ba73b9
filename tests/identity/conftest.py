"""An authority on a clock that stands still, and a forger that signs whatever it is asked to."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra `emulation` is not installed")

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from x0mesh.identity.authority import Authority
from x0mesh.identity.bundle import TrustBundle, TrustBundles
from x0mesh.identity.refusal import RefusedError
from x0mesh.identity.revocation import RevocationList, Revocations
from x0mesh.identity.spiffe_id import SpiffeID, TrustDomain
from x0mesh.identity.svid import X509Svid
from x0mesh.identity.tls import (
    Refused,
    TlsEvent,
    TlsPump,
    client_context,
    server_context,
)
from x0mesh.identity.verifier import verify

S = 1_000_000_000
BOTH_ENDS = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
MESH = TrustDomain("mesh.test")
A = SpiffeID(MESH, "/node/a")
B = SpiffeID(MESH, "/node/b")


@dataclass
class Clock:
    """Unix time that only moves when told; long past for OpenSSL, which must not mind."""

    now_ns: int = 1_600_000_000 * S

    def __call__(self) -> int:
        return self.now_ns


@dataclass
class Forger:
    """A root whose key signs any leaf; by default a good one."""

    clock: Clock
    trust_domain: TrustDomain = MESH
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def __post_init__(self) -> None:
        self.root = self._certificate(
            self.key.public_key(),
            uris=[str(self.trust_domain)],
            is_authority=True,
            subject="root",
            extended=None,
            life_s=86_400,
        )

    def bundle(self) -> TrustBundle:
        return TrustBundle(self.trust_domain, (self.root,))

    def svid(self, key: Any = None, **changes: Any) -> X509Svid:
        """An SVID put together without the checks that a real one passes."""
        key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
        leaf = self._certificate(key.public_key(), **changes)
        return X509Svid(A, (leaf,), key)

    def _certificate(
        self,
        public_key: Any,
        *,
        uris: list[str] | None = None,
        is_authority: bool = False,
        subject: str = "leaf",
        extended: Sequence[x509.ObjectIdentifier] | None = BOTH_ENDS,
        digital_signature: bool = True,
        usage_critical: bool = True,
        starts_s: int = -10,
        life_s: int = 3600,
    ) -> x509.Certificate:
        now = datetime.datetime.fromtimestamp(self.clock.now_ns // S, datetime.UTC)
        uris = [str(A)] if uris is None else uris
        starts = now + datetime.timedelta(seconds=starts_s)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name("root"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(starts)
            .not_valid_after(starts + datetime.timedelta(seconds=life_s))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=digital_signature,
                    content_commitment=not digital_signature,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=is_authority,
                    crl_sign=is_authority,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=usage_critical,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        if uris:
            names = [x509.UniformResourceIdentifier(uri) for uri in uris]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if extended is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        return builder.sign(self.key, hashes.SHA256())


@dataclass
class End:
    """What one end of a channel holds and believes, and what its pump reported."""

    svid: X509Svid | None
    bundles: TrustBundles
    clock: Callable[[], int]
    expected: SpiffeID | None = None
    revocations: Revocations = field(default_factory=Revocations)
    events: list[TlsEvent] = field(default_factory=list)
    pump: TlsPump = field(init=False)

    def client(self) -> End:
        return self._with(TlsPump(self._client_context(), is_server=False, judge=self._judge))

    def server(self) -> End:
        context = server_context(self.svid, self.bundles)
        return self._with(TlsPump(context, is_server=True, judge=self._judge))

    @property
    def refused(self) -> Refused:
        assert self.events, "nothing was reported"
        assert isinstance(self.events[-1], Refused), self.events
        return self.events[-1]

    def _client_context(self) -> Any:
        return client_context(self.svid, self.bundles)

    def _with(self, pump: TlsPump) -> End:
        self.pump = pump
        return self

    def _judge(self, chain: bytes) -> Any:
        return verify(chain, self.bundles, self.revocations, self.clock(), self.expected)


def talk(client: End, server: End) -> None:
    """Carry bytes both ways until neither end has anything to say."""
    client.events += client.pump.start()
    server.events += server.pump.start()
    while client.pump.outgoing_bytes or server.pump.outgoing_bytes:
        server.events += server.pump.receive(client.pump.outgoing())
        client.events += client.pump.receive(server.pump.outgoing())


def refusal_of(call: Callable[[], object]) -> Any:
    """The reason of the RefusedError that `call` must raise."""
    with pytest.raises(RefusedError) as caught:
        call()
    return caught.value.refusal


def revocations_of(authority: Authority) -> Revocations:
    return Revocations([RevocationList.from_der(authority.revocation_list(), authority.bundle())])


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(clock: Clock) -> Authority:
    return Authority(MESH, clock)


@pytest.fixture
def forger(clock: Clock) -> Forger:
    return Forger(clock)


@pytest.fixture
def end(clock: Clock) -> Callable[..., End]:
    """`end(svid, *bundles, **changes)`: one end of a channel on the shared clock."""

    def build(svid: X509Svid | None, *bundles: TrustBundle, **changes: Any) -> End:
        return End(svid, TrustBundles(bundles), **{"clock": clock, **changes})

    return build


@pytest.fixture(name="talk")
def _talk() -> Callable[[End, End], None]:
    return talk


@pytest.fixture(name="refusal_of")
def _refusal_of() -> Callable[..., Any]:
    return refusal_of


@pytest.fixture(name="revocations_of")
def _revocations_of() -> Callable[[Authority], Revocations]:
    return revocations_of
