"""What a Mesh includes, for those who can follow it and for those who must refuse."""

from __future__ import annotations

from tests.support.documents import document
from weft.api.include import includes, refuse

MESH = "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\nspec:\n  include: "


def test_each_include_is_given_with_its_field() -> None:
    found = includes(document(MESH + "[routes.yaml, more/]"))
    assert found == (("routes.yaml", "spec.include[0]"), ("more/", "spec.include[1]"))


def test_what_decoding_refuses_is_no_include() -> None:
    for value in ("routes.yaml", "{a: b}", "null"):
        assert includes(document(MESH + value)) == ()
    assert includes(document(MESH + "[1, a.yaml, '']")) == (("a.yaml", "spec.include[1]"),)
    assert includes(document("apiVersion: weft.dev/v1alpha1\nkind: Mesh\nspec: 1")) == ()


def test_other_kinds_include_nothing() -> None:
    assert includes(document("apiVersion: v1\nkind: Service\nspec: {include: [a]}")) == ()


def test_an_include_outside_a_file_is_a_problem_at_its_place() -> None:
    first, second = refuse(document(MESH + "[a.yaml, b.yaml]"))
    assert (first.code, first.field, str(first.origin)) == ("WFT-1309", "spec.include[0]", "test.yaml:5:13")
    assert second.field == "spec.include[1]"
    assert refuse(document(MESH + "[]")) == ()
