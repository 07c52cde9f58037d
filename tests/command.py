"""Runs the command `hubd` as a real process."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
HUBD = [sys.executable, "-W", "error", "-m", "hubd"]


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """What a process gets to see: nothing of ours; and nothing is stored or saved, which the next one would load."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBD_")}
    nothing_kept = {"HUBD_REPLAY__SAVED_FILE": "off", "HUBD_STORE__URL": "off"}
    return clean | {"PYTHONPATH": str(ROOT)} | nothing_kept | more


def hubd(*arguments: str, cwd: Path | None = None, **environ: str) -> Done:
    ended = subprocess.run(
        [*HUBD, *arguments], capture_output=True, text=True, timeout=30, cwd=cwd, env=environment(**environ)
    )
    return Done(ended.returncode, ended.stdout, ended.stderr)


PLUGIN = """
from hubd.plugin import PluginConfig, SecretStr

class {}:
    class Config(PluginConfig):
        subject: str = ""
        vapid_private_key: SecretStr = SecretStr("")

    def __init__(self, config):
        pass
"""


def with_plugins(folder: Path, *names: str) -> str:
    """A PYTHONPATH by which a distribution with these plugins is installed; it is made in the folder."""
    (folder / "hub_extras.py").write_text("".join(PLUGIN.format(name.capitalize()) for name in names))
    info = folder / "hub_extras-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hub-extras\nVersion: 1.2\n")
    lines = [f"{name} = hub_extras:{name.capitalize()}" for name in names]
    (info / "entry_points.txt").write_text("\n".join(["[hubd]", *lines, ""]))
    return f"{folder}:{ROOT}"
