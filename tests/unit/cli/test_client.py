from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from weft.cli.client import Absent, Client, Refused, problems_of, target
from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.weft_cli import Weft


def test_a_missing_socket_says_that_nothing_runs_and_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(Absent) as caught:
        Client(str(tmp_path / "control.sock")).get("/x")
    [problem] = caught.value.problems
    assert problem.code == "WFT-1701"
    assert "weft up" in problem.remedy


def test_a_socket_of_somebody_dead_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with pytest.raises(Absent) as caught:
        Client(str(path)).get("/x")
    assert caught.value.problems[0].code == "WFT-1701"


def test_a_server_that_never_answers_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        with pytest.raises(Absent) as caught:
            Client(str(path)).json("GET", "/x", timeout=0.05)
    assert caught.value.problems[0].code == "WFT-1703"
    assert "0.05 s" in caught.value.problems[0].message


def test_a_server_that_hangs_up_is_a_problem_and_not_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def hang_up() -> None:
            connection, _ = listening.accept()
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(Absent) as caught:
            Client(str(path)).get("/x")
        thread.join()
    assert caught.value.problems[0].code == "WFT-1703"


def test_the_problems_of_a_refusal_arrive_unchanged(weft: Weft) -> None:
    problem = Problem(code="WFT-1202", message="no such port", remedy="Use 80", origin=Origin("a.yaml", 3, 5))
    body = {
        "kind": "Status",
        "reason": "Invalid",
        "message": "x",
        "details": {
            "problems": [
                {
                    "code": "WFT-1202",
                    "message": "no such port",
                    "remedy": "Use 80",
                    "origin": {"source": "a.yaml", "line": 3, "column": 5},
                }
            ]
        },
    }
    weft.control.answers["GET /x"] = (422, body)
    with pytest.raises(Refused) as caught:
        Client(str(weft.control.path)).get("/x")
    assert caught.value.problems == (problem,)
    assert (caught.value.status, caught.value.reason) == (422, "Invalid")


@pytest.mark.parametrize("body", [b"oops", b"[1]", b'{"error": "oops"}', b""])
def test_a_refusal_without_problems_still_says_something(weft: Weft, body: bytes) -> None:
    weft.control.answers["GET /x"] = (500, body)
    with pytest.raises(Refused) as caught:
        Client(str(weft.control.path)).get("/x")
    [problem] = caught.value.problems
    assert problem.code == "WFT-1704"
    assert problem.remedy


def test_a_stream_is_read_line_by_line(weft: Weft) -> None:
    weft.control.answers["GET /x"] = b"one\r\ntwo\n"
    assert list(Client(str(weft.control.path)).lines("/x")) == [b"one", b"two"]


def test_what_is_sent_says_what_it_is(weft: Weft) -> None:
    weft.control.answers["POST /x y"] = {}
    Client(str(weft.control.path)).json("POST", "/x y", {"a": "1", "b": ""}, {"k": 1})
    asked = weft.control.asked("POST", "/x y")
    assert (asked.query, asked.body, asked.content_type) == ({"a": "1"}, b'{"k": 1}', "application/json")


def test_an_empty_answer_is_none(weft: Weft) -> None:
    weft.control.answers["GET /x"] = b""
    assert Client(str(weft.control.path)).get("/x") is None


def test_names_are_quoted_in_a_target() -> None:
    assert target("/a b/c", {"q": "x=y"}) == "/a%20b/c?q=x%3Dy"


def test_an_answer_without_problems_has_none() -> None:
    assert problems_of({"results": []}) == ()
