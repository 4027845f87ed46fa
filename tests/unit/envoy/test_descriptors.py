from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import given
from hypothesis import strategies as st

from weft.envoy import descriptors
from weft.envoy.pool import DATA

if TYPE_CHECKING:
    from pathlib import Path


def file(name: str, *imports: str, message: str = "M") -> FileDescriptorProto:
    made = FileDescriptorProto(name=name, package="p", dependency=imports, syntax="proto3")
    made.message_type.add(name=message).field.add(name="some_field", number=1)
    return made


def image(*files: FileDescriptorProto, between: bytes = b"\0\0") -> bytes:
    return between.join([b"", *(each.SerializeToString() for each in files), b""])


@pytest.fixture(scope="module")
def extracted(envoy_binary: Path) -> FileDescriptorSet:
    with envoy_binary.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        return descriptors.extract(mapped)


def test_the_packaged_data_is_what_the_pinned_binary_holds(extracted: FileDescriptorSet) -> None:
    assert DATA.read_bytes() == descriptors.packed(extracted)


def test_every_file_of_envoys_api_is_found(extracted: FileDescriptorSet) -> None:
    names = [each.name for each in extracted.file]
    assert len(names) == len(set(names))
    assert sum(name.startswith("envoy/") for name in names) == 471
    assert "validate/validate.proto" in names


def test_imports_come_before_the_files_that_import_them(extracted: FileDescriptorSet) -> None:
    seen: set[str] = set()
    for each in extracted.file:
        assert seen.issuperset(each.dependency), each.name
        seen.add(each.name)


def test_packing_keeps_everything(extracted: FileDescriptorSet) -> None:
    assert descriptors.unpacked(descriptors.packed(extracted)) == extracted


def test_files_are_cut_out_of_whatever_surrounds_them() -> None:
    first, second = file("envoy/a.proto"), file("envoy/b.proto", "envoy/a.proto")
    for between in (b"", b"\0", b"\x0a\x07x.proto", b"\xff" * 9, b"\x0a\x05.proto", b"\x32"):
        assert list(descriptors.extract(image(second, first, between=between)).file) == [first, second]


def test_a_long_name_is_found_too() -> None:
    long = file("envoy/" + "a" * 150 + ".proto")
    assert list(descriptors.extract(image(long)).file) == [long]


def test_private_files_of_the_binary_are_left_out_unless_the_api_imports_them() -> None:
    private, wanted = file("source/private.proto"), file("source/wanted.proto")
    public = file("envoy/a.proto", "source/wanted.proto")
    assert list(descriptors.extract(image(private, wanted, public)).file) == [wanted, public]


def test_two_copies_that_differ_only_in_default_json_names_are_one_file() -> None:
    short, long = file("envoy/a.proto"), file("envoy/a.proto")
    long.message_type[0].field[0].json_name = "someField"
    long.message_type[0].nested_type.add(name="Inner").field.add(name="a_b", json_name="aB")
    short.message_type[0].nested_type.add(name="Inner").field.add(name="a_b")
    assert list(descriptors.extract(image(short, long)).file) == [short]


def test_a_json_name_that_is_not_the_default_is_kept() -> None:
    custom = file("envoy/a.proto")
    custom.message_type[0].field[0].json_name = "other"
    assert list(descriptors.extract(image(custom)).file) == [custom]


def test_two_different_versions_of_a_file_are_an_error() -> None:
    with pytest.raises(descriptors.DescriptorError, match=r"two different versions of envoy/a\.proto"):
        descriptors.extract(image(file("envoy/a.proto"), file("envoy/a.proto", message="Other")))


def test_a_missing_import_is_an_error_that_names_both_files() -> None:
    with pytest.raises(descriptors.DescriptorError, match=r"envoy/a\.proto imports xds/gone\.proto"):
        descriptors.extract(image(file("envoy/a.proto", "xds/gone.proto")))


@given(st.binary(max_size=400))
def test_a_binary_without_envoys_api_is_an_error_and_never_a_crash(noise: bytes) -> None:
    with pytest.raises(descriptors.DescriptorError, match="no file of Envoy's API"):
        descriptors.extract(noise)


@given(st.binary(max_size=60))
def test_a_beginning_that_leads_nowhere_is_passed_over(noise: bytes) -> None:
    good = file("envoy/good.proto")
    found = descriptors.extract(b"\x0a\x0bpriv/.proto\x12" + noise + b"\0" + image(good))
    assert good in found.file
