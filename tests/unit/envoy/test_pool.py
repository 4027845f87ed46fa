from __future__ import annotations

import subprocess
import sys

import pytest
from google.protobuf import descriptor_pool, duration_pb2

from weft.envoy.pool import DATA, message_class, package, pool
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.core import v3 as core


def test_the_pool_is_loaded_once() -> None:
    assert pool() is pool()


def test_the_default_pool_is_not_touched() -> None:
    assert pool().FindMessageTypeByName("envoy.config.cluster.v3.Cluster").name == "Cluster"
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("envoy.config.cluster.v3.Cluster")


def test_well_known_types_come_from_the_same_pool_and_not_from_protobufs_own() -> None:
    ours = message_class("google.protobuf.Duration")
    assert ours.DESCRIPTOR.file.pool is pool()
    assert ours.DESCRIPTOR is not duration_pb2.Duration.DESCRIPTOR
    with pytest.raises(TypeError, match="Duration"):
        cluster.Cluster(connect_timeout=duration_pb2.Duration())  # type: ignore[arg-type]  # the other pool's Duration


def test_a_class_is_made_once_and_is_the_one_that_the_package_names() -> None:
    assert message_class("envoy.config.cluster.v3.Cluster") is cluster.Cluster


def test_an_unknown_message_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        message_class("envoy.config.cluster.v3.Nonsense")


def test_packages_hand_out_messages_enums_and_extensions_and_keep_them() -> None:
    namespace: dict[str, object] = {}
    core_package = package("envoy.config.core.v3", namespace)
    assert core_package("Metadata") is core.Metadata
    assert core_package("TrafficDirection").INBOUND == core.TrafficDirection.INBOUND == 1
    assert set(namespace) == {"Metadata", "TrafficDirection"}
    assert package("validate", {})("rules").full_name == "validate.rules"


def test_a_name_that_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"envoy\.config\.core\.v3 of this Envoy has no Nonsense"):
        core.Nonsense  # type: ignore[attr-defined]  # noqa: B018 - the access is the test


def test_importing_packages_loads_no_descriptors() -> None:
    """A verb of the command line that builds nothing must not pay for the descriptors."""
    code = (
        "import sys\n"
        "from weft.envoy import api\n"
        "from weft.envoy.protos.envoy.config.cluster import v3\n"
        "from weft.envoy.pool import pool\n"
        "assert pool.cache_info().currsize == 0\n"
        "assert not hasattr(v3, '__wrapped__')\n"
        "assert pool.cache_info().currsize == 0\n"
        "assert not [name for name in sys.modules if name.startswith('google.protobuf')], 'protobuf was imported'\n"
        "v3.Cluster()\n"
        "assert pool.cache_info().currsize == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_data_is_packaged_beside_the_module() -> None:
    assert DATA.is_file()
