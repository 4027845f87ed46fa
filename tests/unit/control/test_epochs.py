from __future__ import annotations

from types import MappingProxyType

import msgspec
import pytest

from weft.control.epochs import Epochs
from weft.model.mesh import Mesh
from weft.model.trust import Action, AuthPolicy, Guard, Peers, Shape, TlsMode
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


WORKLOAD = ("shop", "pay-1")
TLS = Peers(("spiffe://local/a",), Shape.TUNNEL)
OFF = Peers(disabled=True, why="PeerAuthentication/shop/off")
ALLOW = AuthPolicy("AuthorizationPolicy/shop/none", Action.ALLOW, ())


def _secured(mode: TlsMode, *policies: AuthPolicy) -> Mesh:
    guard = Guard(mode=mode, policies=policies)
    peers = {PAY: OFF if mode is TlsMode.DISABLE else TLS}
    guards = {WORKLOAD: ((80, guard),)}
    return msgspec.structs.replace(_mesh(), peers=MappingProxyType(peers), guards=MappingProxyType(guards))


def _told(epochs: Epochs, mesh: Mesh) -> tuple[TlsMode, Shape]:
    found = epochs.held_back(mesh)
    ((_, guard),) = found.guards[WORKLOAD]
    return guard.mode, found.peers[PAY].shape


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        (
            TlsMode.DISABLE,
            TlsMode.STRICT,
            [
                (TlsMode.PERMISSIVE, Shape.PLAIN),
                (TlsMode.PERMISSIVE, Shape.TUNNEL),
                (TlsMode.STRICT, Shape.TUNNEL),
            ],
        ),
        (
            TlsMode.DISABLE,
            TlsMode.PERMISSIVE,
            [(TlsMode.PERMISSIVE, Shape.PLAIN), (TlsMode.PERMISSIVE, Shape.TUNNEL)],
        ),
        (TlsMode.STRICT, TlsMode.DISABLE, [(TlsMode.PERMISSIVE, Shape.PLAIN), (TlsMode.DISABLE, Shape.PLAIN)]),
        (TlsMode.PERMISSIVE, TlsMode.DISABLE, [(TlsMode.PERMISSIVE, Shape.PLAIN), (TlsMode.DISABLE, Shape.PLAIN)]),
        (TlsMode.PERMISSIVE, TlsMode.STRICT, [(TlsMode.STRICT, Shape.TUNNEL)]),
        (TlsMode.STRICT, TlsMode.PERMISSIVE, [(TlsMode.PERMISSIVE, Shape.TUNNEL)]),
    ],
)
def test_from_and_to_disable_the_way_leads_over_what_takes_both(
    before: TlsMode, after: TlsMode, steps: list[tuple[TlsMode, Shape]]
) -> None:
    epochs, changed = Epochs(), _secured(after)
    assert epochs.held_back(_secured(before)).guards[WORKLOAD][0][1].mode is before
    waited = [epochs.waiting]
    for step in steps[:-1]:
        assert _told(epochs, changed) == step
        assert _told(epochs, _secured(after)) == step, "what is compiled again meanwhile goes no faster"
        waited.append(epochs.waiting)
        epochs.release()
    assert _told(epochs, changed) == steps[-1]
    assert [*waited, epochs.waiting] == [False, *([True] * (len(steps) - 1)), False]
    assert epochs.held_back(changed) is changed


def test_a_policy_holds_at_once_whatever_the_mode_waits_for() -> None:
    epochs = Epochs()
    epochs.held_back(_secured(TlsMode.DISABLE))
    ((_, guard),) = epochs.held_back(_secured(TlsMode.STRICT, ALLOW)).guards[WORKLOAD]
    assert (guard.mode, guard.policies) == (TlsMode.PERMISSIVE, (ALLOW,))


def test_what_is_first_heard_of_is_told_at_once() -> None:
    """A control plane that has just started, and a workload: nobody has been told anything else."""
    for mode in TlsMode:
        epochs, mesh = Epochs(), _secured(mode)
        epochs.held_back(_mesh())
        assert epochs.held_back(mesh) is mesh
        assert not epochs.waiting


def test_a_service_that_had_nothing_behind_it_is_called_by_tls_from_the_first_workload_on() -> None:
    epochs, mesh = Epochs(), _secured(TlsMode.STRICT)
    nothing = MappingProxyType({PAY: Peers(why="nothing is behind it")})
    epochs.held_back(msgspec.structs.replace(_mesh(), peers=nothing))
    assert _told(epochs, mesh) == (TlsMode.STRICT, Shape.TUNNEL)


def test_who_turns_back_on_the_way_is_met_by_what_takes_both() -> None:
    epochs, off, strict = Epochs(), _secured(TlsMode.DISABLE), _secured(TlsMode.STRICT)
    epochs.held_back(off)
    epochs.held_back(strict)
    epochs.release()
    assert _told(epochs, strict) == (TlsMode.PERMISSIVE, Shape.TUNNEL), "callers are on TLS now"
    changes = epochs.changes
    back = _secured(TlsMode.DISABLE)
    assert _told(epochs, back) == (TlsMode.PERMISSIVE, Shape.PLAIN)
    assert epochs.changes == changes + 1, "who answered before has not heard of it"
    epochs.release()
    assert _told(epochs, back) == (TlsMode.DISABLE, Shape.PLAIN)


def _beside(mode: TlsMode, epoch: int) -> Mesh:
    """As ``_secured``, with another service that changes each time."""
    made = _secured(mode)
    cart = Peers(("spiffe://local/a",), Shape.RAW, epoch=str(epoch))
    return msgspec.structs.replace(made, peers=MappingProxyType({**made.peers, CART: cart}))


def test_nobody_keeps_a_mode_from_another_by_changing_something_else_again_and_again() -> None:
    """Whoever may write in one namespace would hold another's port open to plaintext."""
    epochs = Epochs()
    epochs.held_back(_beside(TlsMode.DISABLE, 0))
    seen = []
    for epoch in range(1, 5):
        seen.append(_told(epochs, _beside(TlsMode.STRICT, epoch)))
        epochs.release()
    assert seen == [
        (TlsMode.PERMISSIVE, Shape.PLAIN),
        (TlsMode.PERMISSIVE, Shape.TUNNEL),
        (TlsMode.STRICT, Shape.TUNNEL),
        (TlsMode.STRICT, Shape.TUNNEL),
    ]


def test_who_turned_to_and_fro_between_two_releases_waits_for_callers_anew() -> None:
    epochs = Epochs()
    epochs.held_back(_beside(TlsMode.DISABLE, 0))
    epochs.held_back(_beside(TlsMode.STRICT, 1))
    epochs.release()
    assert _told(epochs, _beside(TlsMode.DISABLE, 2)) == (TlsMode.PERMISSIVE, Shape.PLAIN)
    assert _told(epochs, _beside(TlsMode.STRICT, 2)) == (TlsMode.PERMISSIVE, Shape.PLAIN)
    epochs.release()
    assert _told(epochs, _beside(TlsMode.STRICT, 3)) == (TlsMode.PERMISSIVE, Shape.TUNNEL)
    epochs.release()
    assert _told(epochs, _beside(TlsMode.STRICT, 4)) == (TlsMode.STRICT, Shape.TUNNEL)
