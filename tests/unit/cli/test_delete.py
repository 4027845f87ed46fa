from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.weft_cli import Weft

PATH = "/api/v1/namespaces/default/services"


def test_named_objects_are_deleted_and_the_missing_ones_told(weft: Weft) -> None:
    weft.control.answers[f"DELETE {PATH}/a"] = {}
    ran = weft("delete", "svc", "a", "b")
    assert (ran.code, ran.out) == (1, "service/a deleted\n")
    assert "WFT-1704" in ran.err
    assert weft("delete", "svc", "b", "--ignore-not-found").code == 0


def test_other_refusals_end_it(weft: Weft) -> None:
    weft.control.answers[f"DELETE {PATH}/a"] = (409, {"message": "somebody was faster"})
    assert weft("delete", "svc/a").code == 1


def test_a_dry_run_asks_for_one(weft: Weft) -> None:
    weft.control.answers[f"DELETE {PATH}/a"] = {}
    assert weft("delete", "svc/a", "--dry-run").out == "service/a deleted (dry run)\n"
    assert weft.control.asked("DELETE", f"{PATH}/a").query == {"dryRun": "All"}


def test_what_manifests_name_is_deleted(weft: Weft, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\nkind: Unknown\n")
    weft.control.answers[f"DELETE {PATH}/a"] = {}
    assert weft("delete", "-f", str(tmp_path)).out == "service/a deleted\n"


def test_manifests_that_cannot_be_read_delete_nothing(weft: Weft, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    assert weft("delete", "-f", str(tmp_path)).code == 1
    assert weft.control.requests == []


def test_all_of_a_type_must_be_said(weft: Weft) -> None:
    item = {"kind": "Service", "metadata": {"name": "a"}}
    weft.control.answers[f"GET {PATH}"] = {"items": [item]}
    weft.control.answers[f"DELETE {PATH}/a"] = {}
    assert weft("delete", "svc").code == 2
    assert weft("delete", "svc", "--all").out == "service/a deleted\n"


def test_neither_names_nor_files_and_both_are_wrong_usage(weft: Weft) -> None:
    assert weft("delete").code == 2
    assert weft("delete", "svc/a", "-f", "x").code == 2
