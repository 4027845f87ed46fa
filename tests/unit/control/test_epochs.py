from __future__ import annotations

from types import MappingProxyType

from weft.control.epochs import Epochs
from weft.model.mesh import Mesh
from weft.model.trust import Peers, Shape
from weft.names import ServiceKey

PAY, CART = (ServiceKey("shop", "pay"), 80), (ServiceKey("shop", "cart"), 80)


def _mesh(**epochs: str) -> Mesh:
    peers = {
        (ServiceKey("shop", name), 80): Peers(("spiffe://local/a",), Shape.RAW, epoch=it) for name, it in epochs.items()
    }
    nothing: MappingProxyType[object, object] = MappingProxyType({})
    return Mesh(
        services=nothing,  # type: ignore[arg-type]  # empty
        routes=nothing,  # type: ignore[arg-type]  # empty
        policies=nothing,  # type: ignore[arg-type]  # empty
        endpoints=nothing,  # type: ignore[arg-type]  # empty
        external_hosts=nothing,  # type: ignore[arg-type]  # empty
        addresses=nothing,  # type: ignore[arg-type]  # empty
        gateways=nothing,  # type: ignore[arg-type]  # empty
        workloads=nothing,  # type: ignore[arg-type]  # empty
        proxies=nothing,  # type: ignore[arg-type]  # empty
        peers=MappingProxyType(peers),
    )


def test_a_first_epoch_is_told_at_once() -> None:
    epochs, mesh = Epochs(), _mesh(pay="1")
    assert epochs.held_back(mesh) is mesh
    assert not epochs.waiting


def test_a_changed_epoch_waits_for_its_release() -> None:
    epochs = Epochs()
    epochs.held_back(_mesh(pay="1", cart="1"))
    changed = _mesh(pay="2", cart="1")
    before = epochs.held_back(changed)
    assert (before.peers[PAY].epoch, before.peers[CART].epoch) == ("1", "1")
    assert epochs.waiting
    epochs.release()
    assert epochs.held_back(changed) is changed
    assert not epochs.waiting


def test_what_changes_beside_a_held_back_epoch_is_told_at_once() -> None:
    epochs = Epochs()
    epochs.held_back(_mesh(pay="1"))
    before = epochs.held_back(_mesh(pay="2", cart="7"))
    assert (before.peers[PAY].epoch, before.peers[CART].epoch) == ("1", "7")


def test_an_epoch_that_changes_again_while_it_waits_is_still_held_back() -> None:
    epochs = Epochs()
    epochs.held_back(_mesh(pay="1"))
    epochs.held_back(_mesh(pay="2"))
    assert epochs.held_back(_mesh(pay="3")).peers[PAY].epoch == "1"
    assert epochs.held_back(_mesh(pay="1")).peers[PAY].epoch == "1"
    assert not epochs.waiting


def test_a_service_that_went_away_is_forgotten() -> None:
    epochs = Epochs()
    epochs.held_back(_mesh(pay="1"))
    epochs.held_back(_mesh())
    assert epochs.held_back(_mesh(pay="2")).peers[PAY].epoch == "2"
