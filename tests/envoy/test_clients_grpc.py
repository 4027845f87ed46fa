"""A gRPC client and server of grpcio in a running mesh: every shape of call, deadlines and error codes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.clients import APPS, IDLE, Callers, callers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.envoy

MESH: Final = f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: test}}
spec:
  services:
    rpc:
      command: [{sys.executable}, {APPS / "rpc.py"}]
      ports: [{{name: grpc, port: 9090, protocol: grpc}}]
    transparent: {{command: {IDLE}, capture: transparent}}
    proxy: {{command: {IDLE}, capture: proxy}}
    ports: {{command: {IDLE}, capture: ports, needs: [rpc]}}
"""

CLIENT: Final = """
import json, os, sys
import grpc
target = sys.argv[1] if len(sys.argv) > 1 else os.environ["RPC_HOST"] + ":" + os.environ["RPC_PORT"]
channel = grpc.insecure_channel(target, options=[("grpc.max_receive_message_length", -1)])
def method(kind, name):
    return getattr(channel, kind)("/test.Rpc/" + name)
unary, stream = method("unary_unary", "Unary"), method("stream_stream", "Chat")
def refused(call, request, **more):
    try:
        return "answered", str(call(request, timeout=10, **more))
    except grpc.RpcError as error:
        return error.code().name, error.details()
"""
SHAPES: Final = """
big = b"x" * 1_000_000
answer, call = unary.with_call(big, timeout=10, metadata=(("x-test-a", "1"),))
chat = stream(iter([b"a", b"b", b"c"]), timeout=10)
print(json.dumps({
    "unary": answer == big,
    "metadata": dict(call.initial_metadata()).get("x-test-a"),
    "trailer": dict(call.trailing_metadata()).get("x-after"),
    "client": method("stream_unary", "Collect")((b"y" * 1000 for _ in range(500)), timeout=10).decode(),
    "server": [int(each) for each in method("unary_stream", "Count")(b"500", timeout=10)] == list(range(500)),
    "both": [each.decode() for each in chat],
}))
"""
TURNS: Final = """
import queue
said = queue.Queue()
answers = stream(iter(said.get, None), timeout=20)
heard = []
for word in (b"one", b"two", b"three"):
    said.put(word)
    heard.append(next(answers).decode())
said.put(None)
print(json.dumps([heard, list(answers), answers.code().name]))
"""
CODES: Final = """
print(json.dumps([refused(method("unary_unary", "Fail"), b"%d:because %d" % (code, code)) for code in range(1, 17)]))
"""
DEADLINES: Final = """
import time
left = method("unary_unary", "Remaining")
codes, begun = set(), time.monotonic()
for _ in range(10):
    try:
        list(method("unary_stream", "Wait")(b"", timeout=0.1))
    except grpc.RpcError as error:
        codes.add(error.code().name)
taken = time.monotonic() - begun
given_up = method("unary_stream", "Wait")(b"", timeout=20)
next(given_up)
given_up.cancel()
print(json.dumps([left(b"", timeout=10).decode(), left(b"").decode(), sorted(codes), taken,
                  method("unary_unary", "Cancelled")(b"11", timeout=25).decode()]))
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[Callers]:
    with callers(MESH) as made:
        yield made


@pytest.fixture(params=["transparent", "proxy", "ports"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(mesh: Callers, mode: str, program: str, target: str = "rpc:9090") -> Any:  # noqa: ANN401 - JSON
    arguments = (target,) if mode != "ports" else ()
    return json.loads(mesh.python(mode, CLIENT + program, *arguments))


def test_every_shape_of_call_arrives_whole_with_its_metadata(mesh: Callers, mode: str) -> None:
    assert ask(mesh, mode, SHAPES) == {
        "unary": True,
        "metadata": "1",
        "trailer": "yes",
        "client": "500000",
        "server": True,
        "both": ["you said a", "you said b", "you said c"],
    }


def test_both_sides_of_a_stream_may_take_turns(mesh: Callers, mode: str) -> None:
    """Nothing on the way waits for more than what was said."""
    assert ask(mesh, mode, TURNS) == [["you said one", "you said two", "you said three"], [], "OK"]


def test_each_error_code_arrives_with_its_text(mesh: Callers, mode: str) -> None:
    names = "CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED"
    names += " RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS"
    names += " UNAUTHENTICATED"
    expected = [[name, f"because {number}"] for number, name in enumerate(names.split(), 1)]
    assert ask(mesh, mode, CODES) == expected


def test_a_deadline_reaches_the_server_and_ends_the_call_there_too(mesh: Callers, mode: str) -> None:
    left, without, codes, taken, ended = ask(mesh, mode, DEADLINES)
    assert 5 < float(left) < 11
    assert float(without) > 1e6  # how grpcio says that there is none
    # Whoever ends it first, the caller must read this and nothing else.
    assert codes == ["DEADLINE_EXCEEDED"]
    assert 0.9 < taken < 10
    assert ended == "11"


@pytest.mark.parametrize("name", ["rpc.default", "rpc.default.svc", "rpc.default.svc.cluster.local", "dns:///rpc"])
def test_a_server_is_called_by_every_name(mesh: Callers, name: str) -> None:
    said = mesh.python("transparent", CLIENT + "print(unary(b'hello', timeout=10).decode())", f"{name}:9090")
    assert said == "hello\n"


def test_an_unknown_server_is_unavailable_and_the_text_says_what_is_near(mesh: Callers) -> None:
    code, details = ask(mesh, "transparent", "print(json.dumps(refused(unary, b'')))", "rcp:9090")
    assert code == "UNAVAILABLE"
    assert "rcp" in details
    assert "rpc.default" in details
