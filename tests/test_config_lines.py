"""Every error in a config leads to its line."""

import time
import tomllib
from pathlib import Path

import pytest

from hubd.config import ConfigError, default_config_text, load_config
from hubd.config_lines import Lines
from tests.config_files import lines_of_errors

TEXT = '''\
# a comment with a = 1
top = 1

[server]          # line 4
  port = 80
"host" = "x"
limits.text = """
port = 3
[not.a.table]
"""
nets = [
  "a",            # [x]
  "b",
]

[[auth.jwt]]
key = \'\'\'
k = 1\'\'\'
[auth.jwt.inner]
a = 1
[[auth.jwt]]
key = "2"
inline = {x = {y = 1}}
[types."a b".c]
d = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("server",), 4),
        (("server", "port"), 5),
        (("server", "host"), 6),
        (("server", "limits"), 7),
        (("server", "limits", "text"), 7),
        (("server", "nets"), 11),
        (("server", "nets", 1), 11),
        (("auth",), 16),
        (("auth", "jwt"), 16),
        (("auth", "jwt", 0), 16),
        (("auth", "jwt", 0, "key"), 17),
        (("auth", "jwt", 0, "inner", "a"), 20),
        (("auth", "jwt", 1), 21),
        (("auth", "jwt", 1, "key"), 22),
        (("auth", "jwt", 1, "inline", "x", "y"), 23),
        (("types", "a b", "c", "d"), 25),
        (("auth", "jwt", 1, "missing"), 21),  # what isn't there: where it would have to be
        (("nowhere", "at", "all"), None),
        (("not",), None),
    ],
)
def test_the_line_of(path: tuple[str | int, ...], line: int | None) -> None:
    assert tomllib.loads(TEXT)
    assert Lines(TEXT).find(path) == line


def test_every_option_of_the_generated_file_is_on_its_line() -> None:
    text = default_config_text()
    lines, table, found = Lines(text), "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("["):
            table = line.strip("[]")
            assert lines.find(tuple(table.split("."))) in range(1, number + 1)
        elif " = " in line and not line.startswith("#"):
            assert lines.find((*table.split("."), line.split(" = ")[0])) == number
            found += 1
    assert found > 30


def test_errors_have_file_line_and_path(tmp_path: Path) -> None:
    text = '[limits]\nping_s = -1\n\nnets = 3\n[auth]\norigins = [\n "https://a.example",\n "x"]\n'
    text += '[[auth.api_keys]]\nid = "a"'
    assert lines_of_errors(text, tmp_path) == [
        ("config.toml:6", "auth.origins[1]"),
        ("config.toml:9", "auth.api_keys[0].sha256"),
        ("config.toml:2", "limits.ping_s"),
        ("config.toml:4", "limits.nets"),
    ]


@pytest.mark.parametrize(("text", "line"), [("[limits\n", 1), ("a = 1\nb = 2\na = 2", 3), ('\n\nx = "', 3)])
def test_a_syntax_error_has_its_line(text: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    (told,) = caught.value.lines
    assert told.startswith(f"{path}:{line}: isn't TOML: ")


@pytest.mark.parametrize(
    "text",
    [
        "x = [\n" + "1,\n" * 100_000 + "]",
        'x = """\n' + "a = 1\n" * 100_000 + '"""',
        "".join(f"a{n} = 1\n" for n in range(100_000)),
        "x = [" + "[" * 300 + "]" * 301,
    ],
    ids=["list", "text", "keys", "deep"],
)
def test_an_enormous_file_takes_no_enormous_time(text: str) -> None:
    begun = time.process_time()
    Lines(text)
    assert time.process_time() - begun < 3
