"""Config files that turn on plugins of one file each, for tests with real processes."""

import json
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent / "hooks" / "zoo" / "alive"


class Folder:
    """A folder with plugins, a config that turns them on, and what they wrote down of their lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.saved = path / "hub.rings"
        self._life = path / "life.txt"
        (path / "plugins").mkdir()

    def add(self, *names: str, source: str = "recorder") -> None:
        """Put plugins there: each is the same source under a name of its own."""
        for name in names:
            (self.path / "plugins" / f"{name}.py").write_text((SOURCES / f"{source}.py").read_text())

    def write(self, *order: str, hub: str = "", **tables: dict[str, Any]) -> None:
        """Write the config: plugins in [hubd] plugins, sections of the hub's own, and the plugins' tables."""
        lines = ["[hubd]", 'plugin_dirs = ["plugins"]', f"plugins = {json.dumps(order)}", hub]
        for name, options in tables.items():
            lines.append(f"[plugins.{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in {"file": str(self._life), **options}.items()]
        self.config.write_text("\n".join([*lines, ""]))

    @property
    def life(self) -> list[str]:
        """What they wrote down, in order."""
        return self._life.read_text().splitlines() if self._life.exists() else []
