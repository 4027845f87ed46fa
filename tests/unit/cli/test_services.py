from __future__ import annotations

import pytest

from tests.unit.cli.test_get import BANK, CART
from weft.cli import output, services
from weft.cli.client import Client, Failed


class Answering(Client):
    """A control plane that has two services."""

    def get(self, path: str, query: object = None) -> object:
        assert (path, query) == ("/weft/v1/services", {"namespace": "default"})
        return {"items": [BANK, CART]}


def test_services_come_by_name_in_the_order_asked_for() -> None:
    client = Answering("unused")
    assert services.fetch(client, "default") == [BANK, CART]
    assert services.fetch(client, "default", ["cart", "bank"]) == [CART, BANK]
    with pytest.raises(Failed, match="'nope'") as failed:
        services.fetch(client, "default", ["nope", "cart", "gone"])
    assert len(failed.value.problems) == 2
    assert "weft get services -A" in failed.value.problems[0].remedy


def test_the_table_fits_and_says_who_declares_a_service() -> None:
    lines = output.table([CART, BANK], services.columns(everywhere=True)).splitlines()
    assert lines[0].split() == ["NAMESPACE", "NAME", "PORTS", "READY", "FROM"]
    assert "240.0.0.1" in output.table([CART], services.columns(everywhere=True), wide=True)
    assert "1/2" in lines[1]
    assert "external" in lines[2]
    assert services.name_of(CART) == "service/cart"
    assert "service/cart" in output.table([CART], services.columns(everywhere=False, kinds=True))
