"""Reading files and requests: names, places, recovery, and what a file source must know (promise B5)."""

from __future__ import annotations

import json

import pytest

from tests.support.documents import brief, document
from weft.api import yaml
from weft.api.document import MAX_BYTES, Reading, cut_short, read, read_all, reference, stored
from weft.values import Origin, Ref

SERVICE = "apiVersion: v1\nkind: Service\nmetadata:\n  name: {0}\nspec:\n  ports: [{{port: 80}}]\n"


def services(*names: str) -> str:
    return "---\n".join(SERVICE.format(name) for name in names)


def read_text(text: str) -> Reading:
    return read(text.encode(), "shop.yaml")


def names(reading: Reading) -> list[str]:
    return [found.ref.name for found in reading.documents]


class TestRead:
    def test_every_document_has_its_name_and_place(self) -> None:
        reading = read_text("# shop\n" + services("a", "b"))
        assert [found.ref for found in reading.documents] == [Ref("", "Service", "default", name) for name in "ab"]
        assert [str(found.origin) for found in reading.documents] == ["shop.yaml:2:1", "shop.yaml:9:1"]
        assert reading.problems == ()
        assert not reading.unfinished

    def test_json_is_read_as_yaml_is(self) -> None:
        data = document(services("a")).data
        (found,) = read_text(json.dumps(data, indent=1)).documents
        assert found.data == data
        assert str(found.place("metadata.name")) == "shop.yaml:5:11"

    def test_a_byte_order_mark_is_skipped(self) -> None:
        assert names(read(b"\xef\xbb\xbf" + services("a").encode(), "x")) == ["a"]

    def test_windows_line_ends_are_read(self) -> None:
        reading = read_text(services("a", "b").replace("\n", "\r\n"))
        assert names(reading) == ["a", "b"]
        assert str(reading.documents[1].place("metadata.name")) == "shop.yaml:11:9"

    def test_empty_documents_are_no_documents(self) -> None:
        for text in ("", "---\n---\n", "# nothing\n"):
            assert read_text(text) == Reading((), ())

    def test_a_namespace_is_filled_in_where_the_kind_has_one(self) -> None:
        reading = read(
            b"apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n" + services("b").encode(), "x", "shop"
        )
        assert [found.ref.namespace for found in reading.documents] == ["", "shop"]

    def test_a_list_has_many_documents_each_with_places(self) -> None:
        text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n- 12\n"
        reading = read_text(text)
        assert names(reading) == ["a"]
        assert str(reading.documents[0].origin) == "shop.yaml:4:3"
        assert str(reading.documents[0].place("metadata.name")) == "shop.yaml:6:20"
        assert [(problem.code, str(problem.origin)) for problem in reading.problems] == [("WFT-1008", "shop.yaml:7:3")]

    def test_the_documents_of_a_list_share_their_places(self) -> None:
        text = "apiVersion: v1\nkind: List\nitems:\n" + "".join(
            f"- {{kind: A, metadata: {{name: a{n}}}}}\n" for n in range(3)
        )
        first, *others = read_text(text).documents
        assert first.marks is not None
        assert all(found.marks is first.marks for found in others)

    def test_a_broken_document_disturbs_no_other(self) -> None:
        text = services("a", "b") + "---\nx: [\n---\nx: 1\nx: 2\n---\n- 1\n---\n!!set {}\n---\n" + services("c")
        reading = read_text(text)
        assert names(reading) == ["a", "b", "c"]
        found = [(problem.code, problem.origin.line) for problem in reading.problems]
        assert found == [("WFT-1004", 16), ("WFT-1005", 18), ("WFT-1008", 20), ("WFT-1007", 22)]
        assert not reading.unfinished

    def test_a_wrong_byte_costs_only_its_document(self) -> None:
        reading = read(services("a").encode() + b"---\nx: \xff\n---\n" + services("b").encode(), "x")
        assert names(reading) == ["a", "b"]
        assert brief(reading.problems) == [("WFT-1006", "")]

    def test_a_second_document_of_one_name_is_refused_with_both_places(self) -> None:
        reading = read_text(services("a", "b", "a"))
        assert names(reading) == ["a", "b"]
        (problem,) = reading.problems
        assert problem.code == "WFT-1110"
        assert "shop.yaml:1:1" in problem.message
        assert problem.origin.line == 15

    def test_documents_without_a_name_are_kept_for_decoding_to_refuse(self) -> None:
        assert len(read_text("kind: Service\n---\nkind: Service\n").documents) == 2

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
    def test_wide_encodings_are_one_clear_problem(self, encoding: str) -> None:
        reading = read(services("a").encode(encoding), "x")
        assert (reading.documents, brief(reading.problems)) == ((), [("WFT-1006", "")])
        assert reading.unfinished

    def test_a_file_over_the_size_limit_is_refused_unread(self) -> None:
        assert read(b"#" * MAX_BYTES, "x") == Reading((), ())
        reading = read(b"[" * (MAX_BYTES + 1), "x")
        assert brief(reading.problems) == [("WFT-1001", "")]
        assert reading.unfinished

    def test_a_file_of_too_many_documents_is_cut_off_with_a_problem(self) -> None:
        reading = read(b"---\n" * (yaml.MAX_DOCUMENTS + 10), "x")
        assert brief(reading.problems) == [("WFT-1001", "")]
        assert reading.unfinished

    def test_long_values_are_not_repeated_in_problems(self) -> None:
        assert len(str(read_text("x" * 100_000).problems[0])) < 500


class TestUnfinished:
    def test_a_file_whose_last_document_is_broken_is_unfinished(self) -> None:
        for end in ("x: [", 'x: "', "apiV", "- a", "x: 1\nx: 2"):
            reading = read_text(services("a") + "---\n" + end)
            assert reading.unfinished
            assert names(reading) == ["a"]

    def test_a_file_that_was_cut_at_any_byte_is_noticed(self) -> None:
        whole = services("a", "b").encode()
        for end in range(len(whole)):
            assert cut_short(whole, whole[:end])
        assert not cut_short(whole, whole)

    def test_new_content_that_stops_within_a_line_is_noticed(self) -> None:
        assert cut_short(b"a: 1\n", b"b: 1\nc:")
        assert not cut_short(b"a: 1\n", b"b: 1\n")
        assert not cut_short(b"a: 1", b"b: 1")


class TestPlaces:
    def test_a_field_that_is_not_there_has_its_parents_place(self) -> None:
        found = document(services("a"))
        assert str(found.place("spec.ports[0].targetPort")) == "test.yaml:6:11"
        assert str(found.place("nothing")) == "test.yaml:1:1"
        assert found.place() == found.origin

    def test_a_key_has_a_place_of_its_own(self) -> None:
        found = document(services("a"))
        assert str(found.place("metadata.name", key=True)) == "test.yaml:4:3"
        assert str(found.place("metadata.name")) == "test.yaml:4:9"

    def test_json_that_is_no_yaml_has_the_documents_place(self) -> None:
        text = '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "\\ud83d\\ude00"}}'
        found = document(text)
        assert found.place("metadata.name") == found.origin


class TestStored:
    def test_a_stored_document_has_its_writers_place_for_every_field(self) -> None:
        origin = Origin("shop.yaml", 7, 1)
        found = stored(b'{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","namespace":"b"}}', origin)
        assert found.ref == Ref("", "Service", "b", "a")
        assert found.place("metadata.name") == origin

    def test_what_no_store_was_given_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="mapping"):
            stored(b"[]", Origin("x"))
        with pytest.raises(ValueError, match="truncated"):
            stored(b"{", Origin("x"))


def test_a_reference_has_empty_parts_where_the_document_does_not_say() -> None:
    assert reference({}, "shop") == Ref("", "", "shop", "")
    assert reference({"apiVersion": 1, "kind": [], "metadata": 3}, "") == Ref("", "", "", "")
    assert reference({"apiVersion": "a.b/v1", "metadata": {"name": {}, "namespace": "n"}}, "x") == Ref(
        "a.b", "", "n", ""
    )


def test_several_files_read_as_one_keep_their_names() -> None:
    reading = read_all([("a.yaml", services("a").encode()), ("b.yaml", b"kind: ["), ("c.yaml", services("a").encode())])
    assert [document.origin.source for document in reading.documents] == ["a.yaml"]
    assert sorted((problem.code, problem.origin.source) for problem in reading.problems) == [
        ("WFT-1004", "b.yaml"),
        ("WFT-1110", "c.yaml"),
    ]
    assert reading.unfinished
    assert read_all([]).documents == ()
