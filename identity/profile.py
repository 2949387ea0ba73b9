"""The SPIFFE profile of a leaf certificate (X509-SVID s.2 to s.5); TLS stacks do not check it."""

from __future__ import annotations

from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from x0mesh.identity.refusal import Refusal, RefusedError
from x0mesh.identity.spiffe_id import SpiffeID, SpiffeIdError

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def leaf_id(leaf: x509.Certificate) -> SpiffeID:
    """The one SPIFFE ID of a certificate that may authenticate a workload.

    Raises RefusedError.
    """
    try:
        return _leaf_id(leaf)
    except RefusedError:
        raise
    except _UNREADABLE as error:
        raise RefusedError(Refusal.MALFORMED, str(error)) from error


def leaf_key(leaf: x509.Certificate) -> ec.EllipticCurvePublicKey:
    """The leaf's P-256 key; raises RefusedError."""
    try:
        key = leaf.public_key()
    except _UNREADABLE as error:
        raise RefusedError(Refusal.KEY_TYPE, str(error)) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RefusedError(Refusal.KEY_TYPE, "only P-256 is used")
    return key


def _leaf_id(leaf: x509.Certificate) -> SpiffeID:
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.value.ca:
        raise RefusedError(Refusal.AUTHORITY_AS_LEAF)
    names = _extension(leaf, x509.SubjectAlternativeName)
    uris = [] if names is None else names.value.get_values_for_type(x509.UniformResourceIdentifier)
    if names is None or not uris:
        raise RefusedError(Refusal.NO_URI)
    if len(uris) > 1:
        raise RefusedError(Refusal.SEVERAL_URIS, f"{len(uris)} of them")
    if not leaf.subject.rdns and not names.critical:
        raise RefusedError(Refusal.MALFORMED, "no subject, and its names are not critical")
    try:
        spiffe_id = SpiffeID.parse(uris[0])
    except SpiffeIdError as error:
        raise RefusedError(Refusal.MALFORMED_ID, str(error)) from error
    if not spiffe_id.path:
        raise RefusedError(Refusal.MALFORMED_ID, "a workload's ID has a path")
    _check_usage(leaf)
    leaf_key(leaf)
    return spiffe_id


def _check_usage(leaf: x509.Certificate) -> None:
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not usage.critical:
        raise RefusedError(Refusal.KEY_USAGE, "absent or not critical")
    if usage.value.key_cert_sign or usage.value.crl_sign:
        raise RefusedError(Refusal.AUTHORITY_AS_LEAF, "may sign certificates or lists")
    if not usage.value.digital_signature:
        raise RefusedError(Refusal.KEY_USAGE, "no digital signature")
    extended = _extension(leaf, x509.ExtendedKeyUsage)
    if extended is not None and not {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    } <= set(extended.value):
        raise RefusedError(Refusal.KEY_USAGE, "not for both ends of TLS")


def _extension(leaf: x509.Certificate, kind: type[_Extension]) -> x509.Extension[_Extension] | None:
    try:
        return leaf.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
