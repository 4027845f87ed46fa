"""The story of the shop, told in the terminal: make demo. With ONCE=1 it runs unattended and checks each step.

It starts a mesh of its own in a temporary directory, and removes it again however it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traffic import Count, Traffic, ask, send

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
ROUTES = HERE / "routes"
POLICIES = HERE / "policies"
BIN = Path(sys.executable).parent
ONCE = os.environ.get("ONCE", "") not in ("", "0")
COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


class StepFailedError(Exception):
    """What was promised is not what happened."""


def say(text: str = "", style: str = "") -> None:
    """One line of the story."""
    print(f"\x1b[{style}m{text}\x1b[0m" if style and COLOUR else text, flush=True)  # noqa: T201 - the story


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise StepFailedError(message)


class Demo:
    """One mesh in one temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = ""
        self.environment = {
            **os.environ,
            "WEFT_STATE_DIR": str(directory / "state"),
            "WEFT_RUNTIME_DIR": str(directory / "run"),
            "SHOP_DEMO": str(directory),  # everything that is started inherits it, so that it can be found
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        }

    def weft(self, *arguments: str, quiet: bool = False, code: int = 0) -> str:
        """Run a command of weft's, which must end with ``code``, and return what it printed."""
        if not quiet:
            say(f"  $ weft {' '.join(arguments).replace(f'{HERE}/', '')}", "36")
        done = subprocess.run(
            [str(BIN / "weft"), *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        expect(
            done.returncode == code, f"weft {arguments[0]} ended with {done.returncode}: {done.stderr or done.stdout}"
        )
        return done.stdout

    def processes(self) -> list[int]:
        """Every process that belongs to this mesh, found by its directory in its environment or command line."""
        mark, own, found = str(self.directory).encode(), os.getpid(), []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == own:
                continue
            try:
                said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark in said:
                found.append(int(entry.name))
        return found

    def described(self, pid: int) -> str:
        """The command line of a process, for people."""
        try:
            return f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes().replace(bytes(1), b' ').decode()}"
        except OSError:
            return f"{pid} (gone)"

    def settled(self, wanted: Callable[[set[str]], bool], seconds: float = 10.0) -> None:
        """Wait until twenty answers in a row come from the versions that are wanted."""
        end = time.monotonic() + seconds
        seen: set[str] = set()
        while time.monotonic() < end:
            seen = set(send(self.url, 20).versions)
            if wanted(seen):
                return
        raise StepFailedError(f"{seconds:g} s after the change, {sorted(seen)} still answer")

    def start(self) -> str:
        """The mesh starts: every process gets a proxy of its own, and nobody chooses a port."""
        begun = time.monotonic()
        self.weft("up", "-d", "-f", str(HERE / "mesh.yaml"))
        shown: list[dict[str, Any]] = json.loads(self.weft("ps", "-o", "json", quiet=True))["items"]
        [gateway] = [item for item in shown if item["kind"] == "gateway"]
        self.url = f"http://127.0.0.1:{gateway['ports'][0].rpartition('->')[2]}"
        reply = ask(self.url, "/")
        expect(reply.status == 200, f"the first page answered {reply.status}: {reply.body[:300]}")
        apps = [item for item in shown if item["kind"] == "app"]
        took = time.monotonic() - begun
        services = len({item["service"] for item in apps})
        return f"{len(apps)} processes of {services} services serve at {self.url} after {took:.1f} s"

    def flows(self) -> str:
        """Traffic flows: a page asks catalog, reviews, ratings, cart, and pricing over gRPC, each by its name."""
        page = json.loads(ask(self.url, "/").body)
        expect(page["cart"].get("total") == "35.40", f"the cart, which asks pricing over gRPC, says {page['cart']}")
        count = send(self.url, 90)
        expect(not count.failures, f"{len(count.failures)} requests failed: {count.failures[:1]}")
        expect(set(count.versions) == {"v1", "v2", "v3"}, f"without a route all versions share; only {count} did")
        return f"{count}; the cart costs {page['cart']['total']}"

    def secured(self) -> str:
        """Every call is mutual TLS between two identities, and nobody asked for it."""
        shown = json.loads(self.weft("edges", "-o", "json"))["items"]
        expect(bool(shown), "weft edges shows no call")
        plain = [edge for edge in shown if edge["secured"] != "mTLS"]
        expect(not plain, f"these calls are not secured: {plain}")
        callers = {edge["caller"] for edge in shown}
        expect(
            {"default/exposed", "default/frontend-v1-0", "default/cart-v1-0"} <= callers,
            f"some callers are missing: {sorted(callers)}",
        )
        return f"{len(shown)} pairs of caller and callee, all by mutual TLS"

    def denies(self) -> str:
        """A caller is denied, and told why: only reviews may ask for ratings."""
        self.weft("apply", "-f", str(POLICIES / "ratings.yaml"))
        refused = self.within("frontend", "http://ratings/1", "403")
        name = "AuthorizationPolicy/default/ratings"
        expect(name in refused, f"the refusal does not say {name}: {refused[:300]}")
        say(f"  {refused.strip().splitlines()[-1]}")
        self.weft("can", "reviews", "ratings")
        said = self.weft("can", "frontend", "ratings", code=3)
        expect(said.startswith("denied") and name in said, f"weft can says: {said}")
        count = send(self.url, 60)
        expect(not count.failures, f"{len(count.failures)} requests failed: {count.failures[:1]}")
        self.weft("delete", "authorizationpolicy/ratings")
        self.within("frontend", "http://ratings/1", "200")
        return f"frontend got 403, the shop itself went on: {count}"

    def within(self, caller: str, url: str, status: str) -> str:
        """Call as ``caller`` would until the answer has this status (10 s at most); the whole answer."""
        program = (
            "import sys, urllib.request as u, urllib.error as e\n"
            "try: answer = u.urlopen(sys.argv[1], timeout=5)\n"
            "except e.HTTPError as error: answer = error\n"
            "print(answer.status, answer.read().decode())"
        )
        line = [str(BIN / "weft"), "exec", caller, "--", sys.executable, "-c", program, url]
        end = time.monotonic() + 10
        while True:
            done = subprocess.run(line, env=self.environment, capture_output=True, text=True, check=False)
            if done.stdout.startswith(f"{status} "):
                say(f"  $ weft exec {caller} -- curl {url}", "36")
                return done.stdout
            expect(
                time.monotonic() < end,
                f"{url} should answer {status}; it says: {done.stdout[:300]}{done.stderr[-300:]}",
            )
            time.sleep(0.05)

    def canary(self) -> str:
        """A canary: nine of ten requests for reviews go to v1, one to v2."""
        self.weft("apply", "-f", str(ROUTES / "canary.yaml"))
        self.settled(lambda versions: "v3" not in versions)
        count = send(self.url, 300)
        expect(not count.failures, f"{len(count.failures)} requests failed: {count.failures[:1]}")
        # 300 draws of 10 %: 30 expected, standard deviation 5.2; more than 4.5 of them off is one run in 100,000.
        expect(7 <= count.versions["v2"] <= 53, f"of 300 requests about 30 should reach v2: {count}")
        expect(count.versions["v3"] == 0, f"v3 gets nothing: {count}")
        return str(count)

    def header(self) -> str:
        """An experiment: testers get v2, everybody else v1."""
        self.weft("apply", "-f", str(ROUTES / "ab.yaml"))
        self.settled(lambda versions: versions == {"v1"})
        testers = send(self.url, 60, headers={"end-user": "tester"})
        others = send(self.url, 60)
        expect(testers.versions == {"v2": 60}, f"testers: {testers}")
        expect(others.versions == {"v1": 60}, f"everybody else: {others}")
        return f"testers: {testers}; others: {others}"

    def command(self, word: str) -> None:
        """Tell reviews v3 to break, mend or crash, from where frontend's calls are captured."""
        program = (
            f"import urllib.request as u; u.urlopen(u.Request('http://reviews-v3/{word}', method='POST'), timeout=5)"
        )
        line = [str(BIN / "weft"), "exec", "frontend", "--", sys.executable, "-c", program]
        say(f"  $ weft exec frontend -- curl -X POST http://reviews-v3/{word}", "36")
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, check=False)
        # A process that crashes on command gives no answer.
        expect(word == "crash" or done.returncode == 0, f"{word}: {done.stderr[-300:]}")

    def breaks(self) -> str:
        """A version breaks: a third of the calls would fail; a route that asks again on 503 hides it."""
        self.weft("apply", "-f", str(ROUTES / "retry.yaml"))
        self.settled(lambda versions: versions == {"v1", "v2", "v3"})
        self.command("break")
        broken = send(self.url, 300)
        expect(not broken.failures, f"{len(broken.failures)} requests failed: {broken.failures[:1]}")
        expect(broken.versions["v3"] == 0, f"v3 answers only 503, so none of these can be its: {broken}")
        self.command("mend")
        self.weft("delete", "httproute/reviews")
        return f"v3 answers 503: {broken}"

    def crashes(self) -> str:
        """A version crashes: calls go elsewhere, and it is started again."""
        before = self.restarts()
        load = Traffic(self.url, 40)
        try:
            self.command("crash")
            end = time.monotonic() + 15
            while self.restarts() <= before or self.state() != "serving":
                expect(time.monotonic() < end, "reviews-v3 was not started again within 15 s")
                time.sleep(0.1)
        finally:
            count = load.stop()
        expect(not count.failures, f"{len(count.failures)} requests failed: {count.failures[:1]}")
        return f"{count}; v3 serves again"

    def restarts(self) -> int:
        return int(self._v3()["restarts"])

    def state(self) -> str:
        return str(self._v3()["state"])

    def _v3(self) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.weft("ps", "reviews-v3", "-o", "json", quiet=True))["items"][0]
        return shown

    def live(self) -> str:
        """Routes change under load, nine times: not one request fails."""
        load = Traffic(self.url, 40)
        try:
            for name in ("canary.yaml", "v2.yaml", "ab.yaml") * 3:
                self.weft("apply", "-f", str(ROUTES / name), quiet=name != "v2.yaml")
                time.sleep(0.25)
            self.weft("apply", "-f", str(ROUTES / "v2.yaml"), quiet=True)
            self.settled(lambda versions: versions == {"v2"})
        finally:
            count = load.stop()
        expect(not count.failures, f"{len(count.failures)} requests failed: {count.failures[:1]}")
        expect(count.total > 60, f"there was too little load to say anything: {count}")
        return f"{count}; slowest {count.slowest * 1000:.0f} ms"

    def memory(self) -> str:
        """Private memory of everything, in MB."""
        kilobytes, found = 0, self.processes()
        for pid in found:
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            kilobytes += sum(
                int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))
            )
        return f"{len(found)} processes hold {kilobytes // 1024} MB of their own"

    def end(self) -> str:
        """Everything goes: no process, no socket, no namespace is left."""
        self.weft("down")
        end = time.monotonic() + 10
        while left := self.processes():
            expect(time.monotonic() < end, f"processes are left: {[self.described(pid) for pid in left]}")
            time.sleep(0.05)
        sockets = [str(path) for path in self.directory.rglob("*") if path.is_socket()]
        expect(not sockets, f"sockets are left: {sockets}")
        # A network namespace lives as long as a process or a mount holds it; there is no process any more.
        mounts = Path("/proc/self/mountinfo").read_text()
        expect(str(self.directory) not in mounts, "a mount is left")
        return "nothing is left"

    def clear(self) -> None:
        """Whatever happened: nothing of this mesh outlives the demo."""
        subprocess.run([str(BIN / "weft"), "down"], env=self.environment, capture_output=True, check=False)
        for pid in self.processes():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        shutil.rmtree(self.directory, ignore_errors=True)


def tell(demo: Demo) -> list[tuple[str, str]]:
    """Every step but the last; what each showed. Raises ``StepFailedError``."""
    shown = []
    for number, step in enumerate(
        (
            *(demo.start, demo.flows, demo.secured, demo.denies, demo.canary),
            *(demo.header, demo.breaks, demo.crashes, demo.live),
        ),
        start=1,
    ):
        say()
        say(f"{number}. {(step.__doc__ or '').strip()}", "1")
        try:
            result = step()
        except StepFailedError as error:
            raise StepFailedError(f"step {number} ({step.__name__}): {error}") from error
        say(f"  ok  {result}", "32")
        shown.append((step.__name__, result))
    return shown


def linger(demo: Demo) -> None:
    """Traffic goes on until Ctrl-C, for whoever wants to play."""
    say()
    say(f"The shop stays open at {demo.url}. To play with it, in another terminal:", "1")
    for name in ("WEFT_STATE_DIR", "WEFT_RUNTIME_DIR"):
        say(f"  export {name}={demo.environment[name]}")
    say(f"  {BIN}/weft proxy status")
    say("Ctrl-C removes everything.", "1")
    traffic = Traffic(demo.url, 10)
    try:
        while True:
            time.sleep(2)
            say(f"  {traffic.count}")
            traffic.count = Count()
    except KeyboardInterrupt:
        say()
    finally:
        traffic.stop()


def main() -> int:
    """Exit code 0, 1 with the step that failed, or 130 when it was interrupted before its end."""
    begun = time.monotonic()
    demo = Demo(Path(tempfile.mkdtemp(prefix="weft-demo-")))
    try:
        shown = tell(demo)
        memory = demo.memory()
        if not ONCE:
            linger(demo)
        say()
        say(f"{len(shown) + 1}. {(demo.end.__doc__ or '').strip()}", "1")
        say(f"  ok  {demo.end()}", "32")
        say()
        say(f"All {len(shown) + 1} steps did what they promise, in {time.monotonic() - begun:.0f} s; {memory}.", "1;32")
    except StepFailedError as error:
        say()
        say(f"FAILED {error}", "1;31")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted; removing everything.")
        return 130
    finally:
        demo.clear()
    return 0


if __name__ == "__main__":
    sys.exit(main())
