"""Anonymous namespaces: what is set in them, and that nothing stays."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from x0mesh.emulation.namespaces import NamespaceError, NetNamespace, setns, write_sysctl


@pytest.fixture
def namespace() -> Iterator[NetNamespace]:
    try:
        created = NetNamespace.create()
    except NamespaceError as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    with created:
        yield created


def sysctl(path: str) -> str:
    return Path("/proc/sys", path).read_text().strip()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def here() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def test_the_caller_stays_where_it_was(namespace: NetNamespace) -> None:
    assert namespace.inode != here()


def test_entering_moves_the_thread_in_and_back_even_after_an_error(
    namespace: NetNamespace,
) -> None:
    outside = here()
    inside = 0
    try:
        with namespace.enter():
            inside = here()
            raise RuntimeError
    except RuntimeError:
        pass
    assert inside == namespace.inode
    assert here() == outside


def test_entering_moves_no_other_thread(namespace: NetNamespace) -> None:
    outside = here()
    seen: list[int] = []
    inside = threading.Event()

    def look() -> None:
        inside.wait()
        seen.append(here())

    thread = threading.Thread(target=look)
    thread.start()
    with namespace.enter():
        inside.set()
        thread.join()
    assert seen == [outside]


def test_a_namespace_forwards_both_families_and_looks_for_no_duplicates(
    namespace: NetNamespace,
) -> None:
    with namespace.enter():
        assert sysctl("net/ipv4/ip_forward") == "1"
        assert sysctl("net/ipv6/conf/all/forwarding") == "1"
        assert sysctl("net/ipv6/conf/default/disable_ipv6") == "0"
        assert sysctl("net/ipv6/conf/default/accept_dad") == "0"


def test_without_ipv6_a_namespace_has_no_ipv6_addresses(namespace: NetNamespace) -> None:
    with NetNamespace.create(ipv6=False) as plain, plain.enter():
        assert Path("/proc/thread-self/net/if_inet6").read_text() == ""


def test_loopback_is_up(namespace: NetNamespace) -> None:
    with (
        namespace.open_socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver,
        namespace.open_socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender,
    ):
        receiver.settimeout(30)
        receiver.bind(("::1", 0))
        sender.sendto(b"hello", receiver.getsockname())
        assert receiver.recv(16) == b"hello"


def test_settings_stay_inside(namespace: NetNamespace) -> None:
    outside = sysctl("net/ipv4/ip_default_ttl")
    namespace.write_sysctl("net/ipv4/ip_default_ttl", "7")
    with namespace.enter():
        assert sysctl("net/ipv4/ip_default_ttl") == "7"
    assert sysctl("net/ipv4/ip_default_ttl") == outside


def test_an_unknown_setting_is_an_error_that_names_it(namespace: NetNamespace) -> None:
    with pytest.raises(NamespaceError, match="net/ipv4/no_such_setting"):
        namespace.write_sysctl("net/ipv4/no_such_setting", "1")


def test_only_network_settings_can_be_written() -> None:
    with pytest.raises(AssertionError):
        write_sysctl("kernel/panic", "0")


def test_a_descriptor_of_something_else_is_refused() -> None:
    with Path("/dev/null").open() as something, pytest.raises(NamespaceError, match="setns"):
        setns(something.fileno())


def test_closing_leaves_no_descriptor(namespace: NetNamespace) -> None:
    before = descriptors()
    for _ in range(3):
        another = NetNamespace.create()
        another.close()
        another.close()
        assert another.closed
    assert descriptors() == before
