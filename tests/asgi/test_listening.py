from __future__ import annotations

import os
import socket

import pytest

from maloca.asgi.listening import CannotListen, PortTaken, free_port_after, holder, listen


def test_port_0_is_any_free_one() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


def test_a_taken_port_names_the_holder_and_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            listen("127.0.0.1", port, option="--engine-port")
        info = caught.value.info
        assert info.message.startswith(f"127.0.0.1:{port} is taken by ")
        assert info.message.endswith(f"(pid {os.getpid()}).")
        free = int((info.hint or "").rpartition("--engine-port ")[2])
        listen("127.0.0.1", free).close()


def test_the_proposed_port_is_none_that_somebody_needs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        first = free_port_after(port)
        assert free_port_after(port, avoid={first}) > first


def test_a_port_without_listener_has_no_holder() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert holder(bound.getsockname()[1]) is None


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid", "1.2.3.4.5"])
def test_an_address_of_somewhere_else(host: str) -> None:
    with pytest.raises(CannotListen) as caught:
        listen(host, 8000)
    assert caught.value.info.message.startswith(f"Cannot listen on {host}:8000: ")
    assert caught.value.info.hint == (
        "Use a name or an address of this machine, such as 127.0.0.1."
    )


def test_ipv6_loopback() -> None:
    try:
        listener = listen("::1", 0)
    except CannotListen:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert listener.family == socket.AF_INET6
