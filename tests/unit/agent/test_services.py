"""The processes that the agent needs for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.agent import services
from weft.agent.processes import MARK
from weft.agent.settings import from_environ

if TYPE_CHECKING:
    from pathlib import Path


def test_each_has_a_row_of_its_own_kind_and_starts_out_starting(tmp_path: Path) -> None:
    settings = from_environ({"WEFT_STATE_DIR": str(tmp_path / "s"), "WEFT_RUNTIME_DIR": str(tmp_path / "r")})
    made = {"control": services.control, "resolver": services.resolver, "fallback": services.fallback}
    for name, make in made.items():
        row = services.row(name, make(settings))
        assert (row.name, row.kind, row.state, row.pid) == (name, name, "starting", 0)


async def test_control_which_keeps_its_memory_to_itself_bears_its_mark_in_its_arguments(tmp_path: Path) -> None:
    settings = from_environ({"WEFT_STATE_DIR": str(tmp_path / "s"), "WEFT_RUNTIME_DIR": str(tmp_path / "r")})
    for make, extra in ((services.control, 1), (services.resolver, 0)):
        child = make(settings)
        before = await child._prepare()
        after = child.marked(before)
        assert after.argv[len(before.argv) :] == (f"{MARK}={after.environment[MARK]}",) * extra
