"""One bad object never disturbs good ones, whatever is wrong with it and wherever it stands in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import worlds
from weft.api.decode import decode
from weft.api.document import read
from weft.memo import Memo

if TYPE_CHECKING:
    from weft.api.decode import Decoded

GOOD: Final = {kind: text.strip() for kind, text in worlds.texts().items()}

BAD: Final = (
    "a: [1, 2",
    "a: {b: c",
    "a: 'never closed",
    "- a\n b",
    "a: b: c",
    "\ta: b",
    "*nobody",
    "a: &a [*a]",
    "a: 1\na: 2",
    "a: !!python/object/apply:os.getcwd []",
    "just text",
    "- a list",
    "apiVersion: v1",
    "apiVersion: v1\nkind: Servise\nmetadata: {name: a}",
    "apiVersion: v2\nkind: Service\nmetadata: {name: a}",
    "apiVersion: v1\nkind: Service\nmetadata: {name: 'No Name!'}\nspec: {ports: [{port: 80}]}",
    "apiVersion: v1\nkind: Service\nmetadata: {name: broken, namespace: shop}\nspec: {ports: [{port: eighty}]}",
    "apiVersion: v1\nkind: Service\nmetadata: {name: broken, namespace: shop}\nspec: {ports: [{port: 80, prot: TCP}]}",
    (
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: broken, namespace: shop}\n"
        "spec: {parentRefs: [{name: edge}], rules: [{matches: [{path: {type: RegularExpression, value: '('}}]}]}"
    ),
    "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: broken, namespace: shop}\nspec: {}",
    (
        "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {name: broken, namespace: shop}\n"
        "spec: {services: {reviews: {port: 99999}}, outboundTraffic: allowAny, x: 1}"
    ),
)
"""Documents of which no object comes. Each has at least one problem."""

LOST: Final = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: lost, namespace: shop}
spec: {parentRefs: [{name: nowhere}, {group: '', kind: Service, name: nowhere}],
  rules: [{backendRefs: [{name: nowhere, port: 80}]}]}"""
"""An object that is read, and leads nowhere."""


def objects(texts: list[str]) -> tuple[list[Decoded], int]:
    """The objects of one file with these documents, and how many problems it has."""
    reading = read("\n---\n".join(texts).encode(), "/world/mixed.yaml", "shop")
    decoded = [decode(document) for document in reading.documents]
    return [each for each in decoded if each.object is not None], len(reading.problems) + sum(
        len(each.problems) for each in decoded
    )


def outcome(found: list[Decoded]) -> dict[str, dict[str, dict[str, str]]]:
    """The version of every resource of every proxy."""
    memo = Memo()
    return {
        node: {
            url: {name: each.version for name, each in named.items()} for url, named in built.resources.types.items()
        }
        for node, built in worlds.proxies(worlds.compiled(found, memo), memo).items()
    }


@settings(max_examples=30, deadline=None, database=None)
@given(st.data())
def test_whatever_stands_between_good_objects_what_is_built_of_them_is_the_same(draw: st.DataObject) -> None:
    bad = draw.draw(st.lists(st.sampled_from([*BAD, LOST]), min_size=1, max_size=6, unique=True))
    mixed, problems = objects(draw.draw(st.permutations([*GOOD.values(), *bad])))
    refs = {each.document.ref for each in mixed}
    assert {each.document.ref for each in WHOLE} <= refs
    assert problems >= len([text for text in bad if text != LOST])
    assert outcome(mixed) == EXPECTED


WHOLE: Final = objects(list(GOOD.values()))[0]
EXPECTED: Final = outcome(WHOLE)


def test_each_bad_document_alone_has_problems_and_no_object() -> None:
    for text in BAD:
        found, problems = objects([text])
        assert (found, problems > 0) == ([], True), text
