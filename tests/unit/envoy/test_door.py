"""The door's fixed configuration. What it does is tried in tests/envoy/test_hosts_door.py."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from weft.envoy import api, door
from weft.envoy.protos.envoy.config.bootstrap import v3 as bootstrap_
from weft.envoy.validation import Validator
from weft.model.service import Address
from weft.web import server

if TYPE_CHECKING:
    from pathlib import Path

ROOT = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def given(directory: str) -> door.DoorInput:
    return door.DoorInput(
        node="door/weft-system/anna",
        listen=Address(ip="10.0.0.1", port=15012),
        admin="/r/admin.sock",
        secrets=directory,
        xds="/r/door-xds.sock",
        api="/r/door-api.sock",
    )


def parsed(data: bytes) -> bootstrap_.Bootstrap:
    return api.from_json(bootstrap_.Bootstrap, json.loads(data))


def test_it_asks_nobody_for_configuration() -> None:
    made = parsed(door.bootstrap(given("/r/door")))
    assert not made.HasField("dynamic_resources")
    assert list(Validator().violations(made)) == []


def test_a_certificate_is_demanded_where_one_is_announced_and_never_asked_for_elsewhere() -> None:
    [made] = parsed(door.bootstrap(given("/r/door"))).static_resources.listeners
    [known], strangers = made.filter_chains, made.default_filter_chain
    assert list(known.filter_chain_match.server_names) == ["control.weft"]
    demanded, other = json.dumps(api.to_json(known)), json.dumps(api.to_json(strangers))
    assert '"require_client_certificate": true' in demanded
    assert "bundles.json" in demanded
    assert "bundles.json" not in other
    assert "spiffe://" in demanded
    assert "spiffe://" not in other, "nobody has an identity there"
    for text in (demanded, other):
        assert '"forward_client_cert_details": "SANITIZE_SET"' in text


def test_what_strangers_may_ask_has_a_limit_that_nobody_else_feels() -> None:
    made = parsed(door.bootstrap(given("/r/door"))).static_resources
    [limited] = [each for each in made.clusters if each.name == door.STRANGERS]
    [threshold] = limited.circuit_breakers.thresholds
    assert (threshold.max_requests.value, threshold.max_connections.value) == (door.MAX_STRANGERS,) * 2
    chains = (*made.listeners[0].filter_chains, made.listeners[0].default_filter_chain)
    for chain in chains:
        manager = chain.filters[-1].typed_config
        routes = api.to_json(manager)["route_config"]["virtual_hosts"][0]["routes"]
        used = {
            each["match"].get("path", "else"): each["route"]["cluster"] for each in routes if each["name"] != door.XDS
        }
        assert used == {**dict.fromkeys(door.OPEN_PATHS, door.STRANGERS), "else": door.API}


def test_the_files_hold_what_envoy_takes_and_never_an_empty_bundle() -> None:
    secret = json.loads(door.svid_file("CHAIN", "KEY"))["resources"][0]
    assert secret["name"] == "default"
    assert secret["tls_certificate"]["private_key"]["inline_string"] == "KEY"
    context = json.loads(door.bundles_file("local", ROOT))["resources"][0]["validation_context"]
    assert set(context) == {"custom_validator_config"}
    with pytest.raises(ValueError, match="would let everybody in"):
        door.bundles_file("local", "")


def test_envoy_takes_it(envoy_binary: Path, tmp_path: Path) -> None:
    from tests.support.secrets import Authority  # noqa: PLC0415 - only this test needs real certificates

    authority = Authority("local")
    own = authority.svid("spiffe://local/weft/control")
    (tmp_path / "svid.json").write_bytes(door.svid_file(own.chain.decode(), own.key.decode()))
    (tmp_path / "bundles.json").write_bytes(door.bundles_file("local", authority.root.decode()))
    config = tmp_path / "door.json"
    config.write_bytes(door.bootstrap(given(str(tmp_path))))
    done = subprocess.run(
        [envoy_binary, "--mode", "validate", "-c", config], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_strangers_have_a_share_of_the_connections_and_no_time_to_sit_on_them() -> None:
    [made] = parsed(door.bootstrap(given("/r/door"))).static_resources.listeners
    known, strangers = made.filter_chains[0], made.default_filter_chain
    assert [each.name.rpartition(".")[2] for each in strangers.filters] == [
        "connection_limit",
        "http_connection_manager",
    ]
    assert [each.name.rpartition(".")[2] for each in known.filters] == ["http_connection_manager"]
    assert door.STRANGER_CONNECTIONS < door.MAX_CONNECTIONS / 2
    assert '"idle_timeout": "15s"' in json.dumps(api.to_json(strangers))
    assert '"idle_timeout": "600s"' in json.dumps(api.to_json(known))


def test_control_is_asked_by_no_more_connections_than_it_answers() -> None:
    made = parsed(door.bootstrap(given("/r/door"))).static_resources
    limits = {each.name: each.circuit_breakers.thresholds[0].max_connections.value for each in made.clusters}
    assert limits[door.API] + limits[door.STRANGERS] < server.MAX_CONNECTIONS
