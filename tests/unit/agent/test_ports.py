"""Ports that nobody has to choose."""

from __future__ import annotations

import errno
import socket

import pytest

from weft.agent import ports


def test_a_port_is_given_once_until_it_comes_back() -> None:
    given = ports.Ports()
    first, second = given.take(), given.take()
    assert first != second
    assert {first, second} <= set(ports.RANGE)
    given.give_back(first)
    assert given.take(first) == first
    given.keep(40000)
    assert given.take(40000) != 40000


def test_a_busy_port_is_not_given() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert ports.bindable("127.0.0.1", port) == errno.EADDRINUSE
        assert ports.Ports().take(port) != port
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
        ports.Ports().take()
