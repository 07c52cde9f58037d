"""Follows a tutorial: writes its files, types its commands, and compares what is printed with what the page shows."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tests.docs import fenced

COMMAND_S = 120.0
OUTPUT_S = 20.0
STAYS = ("hubd serve", "fresh/bin/hubd serve", "curl -sN")
"""Commands that run until Ctrl-C."""
NEW_ENVIRONMENT = "python3 -m venv "


class Step(NamedTuple):
    """A block of the page: a file, or what happens in a terminal. ``words`` are those after the block's kind."""

    kind: str
    words: tuple[str, ...]
    text: str


def steps(page: str) -> Iterator[Step]:
    """The blocks of a page that are to be followed: files by their titles, and terminals."""
    for head, text in fenced(page):
        kind, *words = head.split()
        if kind == "console" or (words and words[0].startswith("title=")):
            yield Step(kind, tuple(words), text)


def pattern(shown: str) -> str:
    """A regular expression for output as a page shows it: ``...`` is anything in a line, or lines."""
    lines = []
    for line in shown.splitlines():
        lines.append(r"(?:.*\n)*?" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n")
    return "".join(lines)


def commands(text: str) -> Iterator[tuple[str, str]]:
    """What is typed in a terminal, each with what is shown below it; nothing is typed before the first output."""
    typed, shown = "", ""
    for line in text.splitlines(keepends=True):
        if line.startswith("$ ") or line == "^C\n":
            if typed or shown:
                yield typed, shown
            typed, shown = line.removeprefix("$ ").rstrip("\n"), ""
        else:
            shown += line
    yield typed, shown


def _heed_ctrl_c() -> None:
    """A process that was started in the background ignores Ctrl-C, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Shell:
    """The terminal in which one command comes after the other."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=environ, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, command: str) -> str:
        """What it prints; it has to succeed."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        watch = threading.Timer(COMMAND_S, process.kill)
        watch.start()
        process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n~~%d~%s\\n' $? \"$PWD\"\n")
        printed = ""
        for line in process.stdout:
            if found := re.fullmatch(r"~~(\d+)~(.*)\n", line):
                watch.cancel()
                assert found[1] == "0", f"$ {command}\n{printed}"
                self.folder = Path(found[2])
                printed = printed.removesuffix("\n")
                return printed if printed.endswith("\n") or not printed else printed + "\n"
            printed += line
        raise AssertionError(f"$ {command}\n{printed}(it ended, or took over {COMMAND_S:g} s)")

    def close(self) -> None:
        """End it."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait(OUTPUT_S)
        process.stdout.close()


class Terminal:
    """A terminal in which one command runs until Ctrl-C."""

    def __init__(self, command: str, folder: Path, environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=folder, env=environ, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=_heed_ctrl_c,  # noqa: PLW1509 - it calls the system and takes no lock
        )  # fmt: skip
        self.printed = ""
        self._seen = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed += line

    def wait_for(self, wanted: str) -> re.Match[str]:
        """Wait until what is new begins with this; what matches isn't new any more."""
        deadline = time.monotonic() + OUTPUT_S
        while (found := re.compile(wanted).match(self.printed, self._seen)) is None:
            new = self.printed[self._seen :]
            assert time.monotonic() < deadline, f"printed:\n{new}\nbut not, as the page shows:\n{wanted}"
            time.sleep(0.05)
        self._seen = found.end()
        return found

    def stop(self) -> None:
        """Ctrl-C."""
        assert self._process.stdout is not None
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(OUTPUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._reader.join(OUTPUT_S)
            self._process.stdout.close()


class Tutorial:
    """Somebody who follows a page in an empty folder. ``port`` stands in for 8080, which may be taken.

    ``faster`` are texts of the page and what is done instead, to save time. ``have`` are files below ``site-packages``
    that each new environment gets at once: what is in there needn't be installed once more.
    """

    def __init__(
        self,
        folder: Path,
        environ: dict[str, str],
        port: int,
        faster: Mapping[str, str] = MappingProxyType({}),
        have: Iterable[Path] = (),
    ) -> None:
        tools = folder / ".tools"
        tools.mkdir()
        (tools / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
        self._environ = environ | {"PATH": f"{tools}:{environ['PATH']}", "HUBD_SERVER__PORT": str(port)}
        self._environ["HUBD_URL"] = f"http://127.0.0.1:{port}"  # what the page leaves to the default
        self._port = str(port)
        self._faster = faster
        self._have = tuple(have)
        self._shell = Shell(folder, self._environ)
        self._shell.folder = folder
        self._terminals: dict[str, Terminal] = {}
        self._key = ""
        self.done: list[str] = []

    def follow(self, step: Step) -> None:
        """Do what one block says."""
        text = step.text.replace("8080", self._port)
        for slow, fast in self._faster.items():
            text = text.replace(slow, fast)
        if step.kind == "console":
            for typed, shown in commands(text):
                self._type(" ".join(step.words), typed.replace("hub_dev_...", self._key), shown)
        else:
            self._write(self._shell.folder / step.words[0].removeprefix("title="), step.words[1:], step.text)

    def _write(self, path: Path, how: tuple[str, ...], text: str) -> None:
        if not how:
            path.write_text(text)
        elif how == ("append",):
            path.write_text(f"{path.read_text()}\n{text}")
        else:
            name = how[0].removeprefix("replace=")
            method = rf"    @hookimpl\n    def {name}\(.*\n(?:        .*\n)*"
            changed, count = re.subn(method, lambda _: text, path.read_text())
            assert count == 1, f"{path.name} has {count} methods {name}"
            path.write_text(changed)

    def _type(self, terminal: str, typed: str, shown: str) -> None:
        if typed == "^C":
            self._terminals.pop(terminal).stop()
        elif typed.startswith(STAYS):
            bin_ = self._shell.folder / ".venv/bin"
            environ = self._environ | {"PATH": f"{bin_}:{self._environ['PATH']}"}
            self._terminals[terminal] = Terminal(typed, self._shell.folder, environ)
            if "serve" in typed:
                self._key = self._terminals[terminal].wait_for(r"(?s)(?=.*(hub_dev_\w+))")[1]
            self._terminals[terminal].wait_for(pattern(shown))
        elif typed:
            printed = self._shell.run(typed)
            wanted = pattern(shown)
            assert re.fullmatch(wanted, printed), f"$ {typed}\n{printed}\nand the page shows:\n{shown}"
            if typed.startswith(NEW_ENVIRONMENT):
                self._furnish(self._shell.folder / typed.removeprefix(NEW_ENVIRONMENT))
        else:
            self._terminals[terminal].wait_for(pattern(shown))
        self.done.append(typed)

    def _furnish(self, environment: Path) -> None:
        """Put into a new environment what it is to have at once."""
        (packages,) = environment.glob("lib/python*/site-packages")
        for path in self._have:
            place = packages / Path(*path.parts[path.parts.index("site-packages") + 1 :])
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)  # with its time, by which Python knows what is compiled

    def close(self) -> None:
        """Stop what still runs."""
        for terminal in self._terminals.values():
            terminal.stop()
        self._shell.close()
