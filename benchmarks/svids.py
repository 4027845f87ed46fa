"""X.509-SVIDs end to end, as an agent with 1,000 workloads gets them: a key and a CSR for each, posted in batches over
control's unix socket, signed, read back, and checked: identity, key, signature and validity of each, and the issuing CA against
the root once in each batch.

``cpu_microseconds_per_svid`` is the CPU time of both processes together from the first key to the last check, divided by
the SVIDs (the best run, for others can only add to it): 500 are 2,000 a second on one core. ``control_cpu_microseconds`` and
``client_cpu_microseconds`` are its two parts. ``wall_svids_per_second`` is what the clock on the wall says, with one client
process and the control plane side by side, in the best run; ``first_ms`` is one SVID by itself.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from weft.identity import verify

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKLOADS: Final = 1_000
BATCH: Final = 250
RUNS: Final = 5
PATIENCE: Final = 60.0
HOST: Final = "bench"


class Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("weft", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def ask(connection: Connection, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection.request(method, path, json.dumps(body) if body is not None else None)
    answer = connection.getresponse()
    text = answer.read()
    return answer.status, json.loads(text) if text.startswith(b"{") else text


def manifest() -> str:
    services = "".join(
        f"    s{number}:\n      command: 'true'\n      ports: [{{port: 80}}]\n" for number in range(WORKLOADS)
    )
    return f"apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: bench}}\nspec:\n  services:\n{services}"


def started(directory: Path) -> subprocess.Popen[bytes]:
    """A control plane with 1,000 placed workloads, ready."""
    (directory / "mesh.yaml").write_text(manifest())
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WEFT_", "XDG_"))}
    places = {"WEFT_STATE_DIR": str(directory / "s"), "WEFT_RUNTIME_DIR": str(directory / "r")}
    environment = kept | places | {"WEFT_HOST": HOST, "WEFT_FILES": str(directory / "mesh.yaml")}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "weft.control"], env=environment, stderr=log, stdout=log)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if ask(Connection(directory / "r" / "control.sock"), "GET", "/readyz")[0] == 200:
                return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    process.wait()
    raise TimeoutError((directory / "log").read_text())


def requests(nodes: list[str]) -> tuple[list[ec.EllipticCurvePrivateKey], dict[str, Any]]:
    keys, asked = [], []
    for node in nodes:
        key = ec.generate_private_key(ec.SECP256R1())
        csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        keys.append(key)
        asked.append({"node": node, "csr": base64.b64encode(csr.public_bytes(Encoding.DER)).decode()})
    return keys, {"requests": asked}


def batch(path: Path, nodes: list[str], roots: tuple[bytes, ...]) -> int:
    """How many SVIDs were made, posted, signed and found good. Raises when one was not."""
    keys, body = requests(nodes)
    status, answer = ask(Connection(path), "POST", "/weft/v1/svids", body)
    if status != 200:
        raise RuntimeError(answer)
    now = datetime.now(UTC)
    good: tuple[bytes, ...] = ()
    if missing := next((each for each in answer["svids"] if "chain" not in each), None):
        raise RuntimeError(missing)
    for node, key, svid in zip(nodes, keys, answer["svids"], strict=True):
        service = node.rpartition("/")[2].partition("-")[0]
        chain = tuple(base64.b64decode(each) for each in svid["chain"])
        # an issuing CA that was found good is as good as a root for the rest of the batch
        anchors = roots if chain[1:] != good else good
        wrong = verify.svid(
            chain if anchors is roots else chain[:1], anchors, f"spiffe://local/ns/default/sa/{service}", now
        )
        good = chain[1:]
        if wrong or x509.load_der_x509_certificate(chain[0]).public_key() != key.public_key():
            raise RuntimeError(f"{node}: {wrong}")
    return len(nodes)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def batches(count: int) -> Iterator[list[str]]:
    nodes = [f"sidecar/default/s{number % WORKLOADS}-v1-0" for number in range(count)]
    return (nodes[at : at + BATCH] for at in range(0, count, BATCH))


def measure(path: Path, pid: int) -> dict[str, float]:
    _, line = ask(Connection(path), "GET", "/weft/v1/trust")
    roots = tuple(base64.b64decode(each) for each in line["bundles"][0]["x509"])
    batch(path, next(batches(BATCH)), roots)
    count, walls, control, client = 2 * WORKLOADS, [], [], []
    for _ in range(RUNS):
        before, own, begun = cpu_seconds(pid), time.process_time(), time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            done = sum(pool.map(lambda nodes: batch(path, nodes, roots), batches(count)))
        walls.append((time.perf_counter() - begun) / done * 1e6)
        control.append((cpu_seconds(pid) - before) / done * 1e6)
        client.append((time.process_time() - own) / done * 1e6)
    begun = time.perf_counter()
    batch(path, ["sidecar/default/s0-v1-0"], roots)
    return {
        "cpu_microseconds_per_svid": min(one + two for one, two in zip(control, client, strict=True)),
        "control_cpu_microseconds": min(control),
        "client_cpu_microseconds": min(client),
        "wall_svids_per_second": 1e6 / min(walls),
        "first_ms": (time.perf_counter() - begun) * 1e3,
    }


def main() -> int:
    directory = Path(tempfile.mkdtemp(prefix="weft-svids-"))
    try:
        process = started(directory)
        try:
            figures = measure(directory / "r" / "control.sock", process.pid)
        finally:
            process.terminate()
            process.wait(PATIENCE)
    finally:
        shutil.rmtree(directory)
    print(json.dumps(figures))  # noqa: T201 - the figures are the output
    return 0


if __name__ == "__main__":
    sys.exit(main())
