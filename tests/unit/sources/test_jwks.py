"""Keys of token issuers: fetched, kept fresh, kept when a fetch fails and when the control plane restarts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest

from weft.latest import Latest
from weft.model.trust import KeySet
from weft.outside import Allowed, Reader, RefusedError
from weft.sources import jwks
from weft.sources.jwks import KeyFetcher, pause, read

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

A, B = "https://a.example/keys", "https://b.example/keys"


def keys(name: str) -> bytes:
    return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": name, "y": "y", "kid": name}]}).encode()


class Web(Reader):
    """The internet of a test: what stands at each URL, or why nothing does."""

    def __init__(self, **pages: bytes | str) -> None:
        super().__init__()
        self.pages: dict[str, bytes | str] = {f"https://{name}.example/keys": page for name, page in pages.items()}
        self.opened: list[Allowed] = []

    async def get(self, url: str, opened: Allowed) -> bytes:
        await anyio.lowlevel.checkpoint()
        self.opened.append(opened)
        page = self.pages.get(url, "it is gone")
        if isinstance(page, str):
            raise RefusedError(page)
        return page


class Bench:
    """A fetcher whose waits end when the test says so."""

    def __init__(self, path: Path, web: Web) -> None:
        self.web = web
        self.told: Latest[tuple[KeySet, ...]] = Latest(())
        self.pauses: list[float] = []
        self._again: Latest[None] = Latest(None)
        self.fetcher = KeyFetcher(path / jwks.FILE, self.told.set, web, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        serial = self._again.serial
        self.pauses.append(seconds)
        await self._again.newer_than(serial)

    async def again(self, waits: int) -> None:
        """When so many waits have begun in all, let every wait end."""
        await self.waiting(waits)
        self._again.set(None)

    async def waiting(self, waits: int) -> None:
        with anyio.fail_after(10):
            while len(self.pauses) < waits:
                await anyio.lowlevel.checkpoint()

    async def until(self, **expected: str) -> None:
        """Wait until these keys are published: by host, their name, or why there are none."""
        serial = -1
        with anyio.fail_after(10):
            while True:
                serial, found = await self.told.newer_than(serial)
                shown = {each.uri[8:9]: each.problem or json.loads(each.jwks)["keys"][0]["kid"] for each in found}
                if shown == expected:
                    return


async def test_keys_are_published_in_one_spelling_sorted_by_uri(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Web(a=keys("1"), b=b' {"keys": [' + keys("2")[10:-2] + b'], "more": 1} '))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fetcher.run)
        bench.fetcher.want((B, A), ())
        await bench.until(a="1", b="2")
        tasks.cancel_scope.cancel()
    first, second = bench.told.value
    assert first.uri < second.uri
    assert second.jwks == '{"keys":[{"crv":"P-256","kid":"2","kty":"EC","x":"2","y":"y"}]}'
    assert bench.fetcher.counts == {"fetched": 2}
    assert bench.fetcher.stale == 0


async def test_a_failure_keeps_the_keys_and_says_why_until_it_is_over(tmp_path: Path) -> None:
    web = Web(a=keys("1"))
    bench = Bench(tmp_path, web)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fetcher.run)
        bench.fetcher.want((A,), ())
        await bench.until(a="1")
        web.pages[A] = "it is away"
        await bench.again(1)
        await bench.until(a="it is away")
        assert json.loads(bench.told.value[0].jwks)["keys"][0]["kid"] == "1"
        assert bench.fetcher.stale == 1
        web.pages[A] = keys("2")
        await bench.again(2)
        await bench.until(a="2")
        tasks.cancel_scope.cancel()
    assert bench.pauses[0] > 1_000 > bench.pauses[1]


async def test_keys_that_were_never_had_are_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Web())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fetcher.run)
        bench.fetcher.want((A,), ())
        await bench.until(a="it is gone")
        tasks.cancel_scope.cancel()
    assert bench.told.value == (KeySet(A, "", "it is gone"),)
    assert not (tmp_path / jwks.FILE).exists()


async def test_a_restart_begins_with_the_keys_that_were_there(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Web(a=keys("1"), b=keys("2")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fetcher.run)
        bench.fetcher.want((A, B), ())
        await bench.until(a="1", b="2")
        await bench.waiting(2)
        tasks.cancel_scope.cancel()
    second = Bench(tmp_path, Web(a="it is away"))
    await second.fetcher.load()
    await second.until(a="1", b="2")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second.fetcher.run)
        second.fetcher.want((A,), ())
        await second.until(a="it is away")
        tasks.cancel_scope.cancel()
    assert second.told.value[0].jwks


async def test_what_nobody_wants_any_more_is_forgotten(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Web(a=keys("1"), b=keys("2")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fetcher.run)
        bench.fetcher.want((A, B), ())
        await bench.until(a="1", b="2")
        await bench.waiting(2)
        bench.fetcher.want((B,), ())
        await bench.until(b="2")
        await bench.again(2)
        await bench.waiting(3)
        tasks.cancel_scope.cancel()
    assert [each.uri for each in bench.told.value] == [B]


async def test_what_the_operator_opens_is_asked_again_at_once(tmp_path: Path) -> None:
    web = Web(a="it is private")
    bench = Bench(tmp_path, web)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fetcher.run)
        bench.fetcher.want((A,), ())
        await bench.until(a="it is private")
        web.pages[A] = keys("1")
        bench.fetcher.want((A,), ("a.example",))
        await bench.until(a="1")
        tasks.cancel_scope.cancel()
    assert web.opened == [Allowed(), Allowed(hosts=("a.example",))]


async def test_a_discovery_document_says_where_the_keys_are(tmp_path: Path) -> None:
    where = "https://a.example/.well-known/openid-configuration"
    web = Web(b=keys("1"))
    web.pages[where] = json.dumps({"issuer": "https://a.example", "jwks_uri": B}).encode()
    bench = Bench(tmp_path, web)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fetcher.run)
        bench.fetcher.want((where,), ())
        await bench.until(a="1")
        web.pages[where] = b'{"issuer": "https://a.example"}'
        await bench.again(1)
        await bench.until(a="the discovery document has no jwks_uri")
        tasks.cancel_scope.cancel()


async def test_a_file_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / jwks.FILE
    path.write_text(json.dumps([{"uri": A, "jwks": keys("evil").decode()}]))
    path.chmod(0o666)
    bench = Bench(tmp_path, Web())
    await bench.fetcher.load()
    assert bench.told.value == ()
    assert bench.fetcher.counts == {"disk": 1}


async def test_a_disk_that_takes_nothing_loses_no_keys(tmp_path: Path) -> None:
    (tmp_path / jwks.FILE).mkdir()
    bench = Bench(tmp_path, Web(a=keys("1")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.fetcher.run)
        bench.fetcher.want((A,), ())
        await bench.until(a="1")
        await bench.waiting(1)
        tasks.cancel_scope.cancel()
    assert bench.fetcher.counts == {"fetched": 1, "disk": 1}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff", "UTF-8"),
        (b"[]", "no list of keys"),
        (b"<html>", "not JSON"),
        (b'{"keys": []}', "no list of keys"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "symmetric"),
        (b'{"keys": [{"kty": "RSA", "n": "a", "e": "b", "d": "c"}]}', "private"),
        (b"[" * 60_000, "not JSON"),
    ],
)
def test_what_is_no_public_key_set_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        read(body)


def test_failures_are_followed_by_longer_and_longer_waits() -> None:
    assert 1_080 <= pause(0) <= 1_320
    assert 4.5 <= pause(1) <= 5.5
    assert 36 <= pause(4) <= 44
    assert 270 <= pause(50) <= 330
