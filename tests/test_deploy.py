"""What is under deploy/: the unit file and the Dockerfile say what they have to, and fit the program."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from hubd.cli import main
from hubd.config import Config
from tests.command import ROOT, environment
from tests.daemon import Daemons

UNIT = ROOT / "deploy" / "hubd.service"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def unit() -> dict[str, list[str]]:
    """The settings of the [Service] section; one may come several times."""
    settings: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            settings[name].append(value)
    return settings


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each on one line."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def test_the_unit_runs_commands_that_there_are() -> None:
    for name in ("ExecStart", "ExecReload"):
        (line,) = unit()[name]
        program, command, *arguments = shlex.split(line.replace("$MAINPID", "4711"))
        assert program.startswith("/") and program.endswith("/hubd")
        parsed = main.commands[command].make_context(command, list(arguments))
        assert parsed.params["config_path" if command == "serve" else "pid"]


def test_the_unit_waits_longer_than_the_hub_takes_to_stop() -> None:
    settings = unit()
    assert int(settings["TimeoutStopSec"][0]) > Config().server.drain_s
    assert settings["Type"] == ["notify"]
    assert int(settings["WatchdogSec"][0]) >= 10
    assert settings["Restart"] == ["on-failure"]


def test_the_unit_gives_away_what_a_hub_doesnt_need() -> None:
    settings = unit()
    assert settings["User"] == ["hubd"]
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictNamespaces"):
        assert settings[name] == ["yes"], name
    assert settings["ProtectSystem"] == ["strict"]
    assert settings["CapabilityBoundingSet"] == [""]
    assert settings["StateDirectory"] == ["hubd"] and settings["WorkingDirectory"] == ["/var/lib/hubd"]
    assert "AF_UNIX" in settings["RestrictAddressFamilies"][0]  # what systemd is told, and `hubd reload`


@pytest.mark.long
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    assert shutil.which("systemd-analyze"), "install it: apt-get install systemd"
    copy = tmp_path / "hubd.service"
    copy.write_text(UNIT.read_text().replace("/opt/hubd/bin/hubd", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_runs_hubd_as_nobody_special() -> None:
    found = instructions()
    last = max(place for place, (name, _) in enumerate(found) if name == "FROM")
    final = dict(found[last:])
    assert final["USER"].isdigit() and final["USER"] != "0"
    assert f"--uid {final['USER']}" in final["RUN"]
    assert json.loads(final["ENTRYPOINT"]) == ["hubd"]
    assert json.loads(final["CMD"])[0] in main.commands
    assert final["WORKDIR"] == final["VOLUME"] == "/var/lib/hubd"
    assert final["STOPSIGNAL"] == "SIGTERM"
    assert "HUBD_SERVER__HOST=0.0.0.0" in final["ENV"]


def test_all_that_the_image_copies_is_there_and_isnt_left_out() -> None:
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        word for name, rest in instructions() if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]
    ]
    assert copied == ["pyproject.toml", "README.md", "LICENSE", "hubd"]
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored


async def test_the_health_check_tells_a_hub_that_works_from_one_that_doesnt(tmp_path: Path) -> None:
    (check,) = [rest for name, rest in instructions() if name == "HEALTHCHECK"]
    _, flag, program = json.loads(check[check.index("[") :])
    daemons = Daemons(tmp_path)
    daemon = await daemons.start()

    def code() -> int:
        command = [sys.executable, flag, program.replace(":8080", f":{daemon.port}")]
        return subprocess.run(command, capture_output=True, timeout=30, env=environment()).returncode

    try:
        assert code() == 0
    finally:
        await daemon.stopped()
    assert code() == 1
