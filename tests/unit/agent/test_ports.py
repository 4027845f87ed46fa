"""Ports that nobody has to choose."""

from __future__ import annotations

import errno
import socket

import pytest

from weft.agent import ports


def test_a_port_is_given_once_until_it_comes_back() -> None:
    given = ports.Ports("a")
    first, second = given.take(), given.take()
    assert first != second
    assert {first, second} <= set(ports.RANGE)
    third = given.take()
    for port in (first, second, third):
        given.give_back(port)
    again = ports.Ports("a")
    again.keep(first)
    assert first not in {again.take(), again.take()}


def test_agents_of_one_machine_begin_at_different_ports() -> None:
    assert ports.Ports("a").take() != ports.Ports("b").take()


def test_after_the_last_port_comes_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "bindable", lambda _address, _port: 0)
    given = ports.Ports("a")
    assert {given.take() for _ in ports.RANGE} == set(ports.RANGE)
    with pytest.raises(OSError, match="no free port"):
        given.take()


def test_a_busy_port_is_not_given() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert ports.bindable("127.0.0.1", port) == errno.EADDRINUSE
        assert ports.gateway_port("127.0.0.1", port, frozenset()) > port


def test_a_port_that_needs_rights_becomes_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "bindable", lambda _, port: errno.EACCES if port < 1024 else 0)
    assert ports.gateway_port("127.0.0.1", 80, frozenset()) == 8080
    assert ports.gateway_port("127.0.0.1", 80, frozenset({8080})) == 8081


def test_no_free_port_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "bindable", lambda _address, _port: errno.EADDRINUSE)
    with pytest.raises(OSError, match="no free port"):
        ports.gateway_port("127.0.0.1", 80, frozenset())
    with pytest.raises(OSError, match="no free port"):
        ports.Ports("a").take()
