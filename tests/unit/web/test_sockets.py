from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from weft.sources.lock import UnusableError
from weft.web import sockets

if TYPE_CHECKING:
    from pathlib import Path


def refusal(caught: pytest.ExceptionInfo[UnusableError]) -> str:
    return caught.value.problem.code


def test_the_socket_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with sockets.listen_unix(path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert [each.name for each in tmp_path.iterdir()] == ["control.sock"]


def test_a_socket_that_a_dead_process_left_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    sockets.listen_unix(path).close()
    with sockets.listen_unix(path), pytest.raises(UnusableError) as caught:
        sockets.listen_unix(path)
    assert refusal(caught) == "WFT-1503"


def test_a_socket_that_cannot_be_there_is_a_problem(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 120), tmp_path / "absent" / "control.sock"):
        with pytest.raises(UnusableError) as caught:
            sockets.listen_unix(path)
        assert refusal(caught) == "WFT-1504"


def test_tcp_is_loopback_only() -> None:
    with sockets.listen_tcp("127.0.0.1:0") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UnusableError) as caught:
            sockets.listen_tcp(f"localhost:{port}")
        assert refusal(caught) == "WFT-1504"
    for wrong in ("0.0.0.0:80", "example.com:80", "127.0.0.1:x", "127.0.0.1:70000", "80", "[::]:80"):
        with pytest.raises(UnusableError) as caught:
            sockets.listen_tcp(wrong)
        assert refusal(caught) == "WFT-1512"


def test_a_token_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "api-token"
    made = sockets.token(path)
    assert len(made) >= 32
    assert sockets.token(path) == made
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_token_that_others_can_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "api-token"
    sockets.token(path)
    path.chmod(0o644)
    with pytest.raises(UnusableError, match="644"):
        sockets.token(path)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(UnusableError, match="no token"):
        sockets.token(path)
    for broken in (tmp_path / "absent" / "t", tmp_path):
        with pytest.raises(UnusableError):
            sockets.token(broken)


def test_a_full_backlog_is_still_somebody(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(UnusableError) as caught:
            sockets.listen_unix(path)
    assert refusal(caught) == "WFT-1503"


def test_a_token_behind_a_link_or_of_any_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "api-token"
    sockets.token(path)
    (tmp_path / "link").symlink_to("api-token")
    with pytest.raises(UnusableError, match="WFT-1504"):
        sockets.token(tmp_path / "link")
    path.write_text("x" * (sockets.MAX_TOKEN_BYTES + 1))
    with pytest.raises(UnusableError, match="no token"):
        sockets.token(path)
