"""The load client that comes and goes: it takes what is right, and ends when something is wrong."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.processes import Processes
from bench.visitors import TARGET, Publisher, Visitors

COUNT = 20
MISSED = "ubutu"


@pytest.fixture
def processes() -> Iterator[Processes]:
    with Processes() as some:
        yield some


@pytest.mark.parametrize(("transport", "subprotocol"), [("websocket", ""), ("websocket", "hubd.v1.json"), ("sse", "")])
def test_they_resume_get_what_they_missed_and_what_is_live(
    processes: Processes, transport: str, subprotocol: str
) -> None:
    hub = processes.hub(auth=True)
    publisher, tokens = Publisher(hub), processes.tokens_file(COUNT)
    visitors = Visitors(processes, hub, tokens, transport=transport, subprotocol=subprotocol)
    cursor = publisher.cursor()
    publisher.publish(MISSED, COUNT)
    run = visitors.come(COUNT, f"{TARGET}&cursor={cursor}", MISSED)
    assert run.count == COUNT
    assert run.seconds > 0 < run.server_cpu_s
    assert publisher.connections() == COUNT
    visitors.expect("tb", len(MISSED))
    publisher.publish("tb", COUNT, len(MISSED))
    visitors.have_all()
    visitors.leave()
    publisher.wait_for(0)
    assert visitors.come(COUNT).count == COUNT, "they come again"


def test_polls_wait_and_get_what_comes(processes: Processes) -> None:
    hub = processes.hub(auth=True)
    publisher = Publisher(hub)
    visitors = Visitors(processes, hub, processes.tokens_file(COUNT), transport="poll")
    visitors.come(COUNT)
    publisher.wait_for(COUNT)
    visitors.expect("b", 0)
    publisher.publish("b", COUNT)
    visitors.have_all()


@pytest.mark.parametrize(
    ("published", "expected", "number"),
    [("uuu", "uu", 0), ("uu", "uu", 1), ("ub", "bu", 0), ("ut", "ub", 0)],
    ids=["one too many", "the first lost", "reordered", "by another channel"],
)
def test_what_is_not_as_expected_ends_it(
    processes: Processes, published: str, expected: str, number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    hub = processes.hub(auth=True)
    publisher = Publisher(hub)
    visitors = Visitors(processes, hub, processes.tokens_file(COUNT))
    cursor = publisher.cursor()
    publisher.publish(published, COUNT)
    with pytest.raises(SystemExit, match="has ended with status 1"):
        visitors.come(COUNT, f"{TARGET}&cursor={cursor}", expected, number)
    assert "FAILED: connection" in capfd.readouterr().err


def test_a_token_that_is_no_good_ends_it(processes: Processes, tmp_path: Path) -> None:
    hub = processes.hub(auth=True)
    bad = tmp_path / "tokens"
    bad.write_text("".join(f"{token[:-4]}AAAA\n" for token in processes.tokens(COUNT)))
    visitors = Visitors(processes, hub, bad)
    with pytest.raises(SystemExit, match="has ended with status 1"):
        visitors.come(COUNT)


def test_a_gap_ends_it(processes: Processes) -> None:
    hub = processes.hub(auth=True)
    visitors = Visitors(processes, hub, processes.tokens_file(COUNT))
    with pytest.raises(SystemExit, match="has ended with status 1"):
        visitors.come(COUNT, f"{TARGET}&cursor=aaaaaaaaaa-1")


def test_a_command_that_is_none_ends_it(processes: Processes) -> None:
    done = subprocess.run(
        [processes.native("connections"), "1", "websocket", "1", "-"], input="dance\n", capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "not a command" in done.stderr


def test_its_answers_are_json(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a\nb\n")
    command = [processes.native("connections"), "1", "websocket", "1", "-"]
    done = subprocess.run(command, input=f"tokens {tmp_path}/tokens\n", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"tokens": 2}
