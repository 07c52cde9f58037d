"""The zoo's animals that are never let in: `hubd check-config` and `hubd serve` say of each why, all at once."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Done, hubd

FOLDER = Path(__file__).parent / "zoo" / "refused"
TABLE = """
count = 10
token = 123456789
names = "text"
words = {a = "b"}
ulr = "secret-value"
"""
EXPECTED = {
    "async_filter": "hubd_filter_recipients can't wait for anything: it has to be a plain function, not `async def`",
    "async_generator": "hubd_authorize_subscribe has to return its answer: it can't `yield`",
    "attribute": "hubd_published has to be a plain method",
    "bad_check": "its Config failed: RuntimeError (FOLDER/bad_check.py:13)",
    "config_in_lower_case": "its `Config` has to be a class derived from hubd.plugin.PluginConfig",
    "config_of_none": "its `Config` has to be a class derived from hubd.plugin.PluginConfig",
    "exits": "can't be loaded: SystemExit (FOLDER/exits.py:3)",
    "fails": "can't be loaded: RuntimeError (FOLDER/fails.py:1)",
    "generator": "hubd_authorize_subscribe has to return its answer: it can't `yield`",
    "import_error": "can't be loaded: ModuleNotFoundError: No module named 'there_is_no_such_module'"
    " (FOLDER/import_error.py:1)",
    "interrupts": "can't be loaded: KeyboardInterrupt (FOLDER/interrupts.py:1)",
    "init": "its __init__ has to take its options: def __init__(self, config)",
    "keyword_only": "hubd_published: its argument 'live' has to be a plain one: no default, not behind a *",
    "misspelt": "there is no hook hubd_publised; did you mean hubd_published?",
    "no_class": "FOLDER/no_class.py has no class Plugin",
    "no_plugin_class": "FOLDER/no_plugin_class.py is no class",
    "options.url": "is missing",
    "options.count": "has to be at most 9",
    "options.token": "has to be a text in quotes",
    "options.names": 'has to be a list, such as ["a", "b"]',
    "options.words.a": "has to be a whole number, without quotes",
    "options.ulr": "unknown key; did you mean url?",
    "selfless": "hubd_published has to have `self` as its first argument",
    "star": "hubd_published: name its arguments instead of *args; there are: notification, live",
    "static": "hubd_published has to be a plain method",
    "syntax_error": "can't be loaded: SyntaxError: expected ':' (OTHER/syntax_error.py:2)",
    "try_first": "hubd_published: tryfirst can't be used: plugins are called in the order of the config",
    "unmarked": "hubd_published lacks its decorator @hookimpl, so it would never be called",
    "with_default": "hubd_published: its argument 'live' has to be a plain one: no default, not behind a *",
    "without_prefix": "there is no hook published; did you mean hubd_published?",
    "wrapper": "hubd_published: wrapper can't be used: plugins are called in the order of the config",
    "wrong_argument": "hubd_published has no argument 'notificaton'; did you mean notification?",
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that turns on all of them, and has errors of its own."""
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "other").mkdir()
    (folder / "other" / "syntax_error.py").write_text("\nclass Plugin\n")
    (folder / "other" / "misspelt.py").write_text("")
    names = dict.fromkeys(name.partition(".")[0] for name in EXPECTED if name != "misspelt")
    tables = [f"[plugins.{name}]{TABLE if name == 'options' else ''}" for name in names]
    path = folder / "config.toml"
    head = f'[hubd]\nplugin_dirs = ["{FOLDER}", "other", "{FOLDER}", "nowhere"]\nplugins = ["nosuch", "unmarkd"]\n'
    path.write_text("\n".join([head, '[limits]\nping_s = "x"', *tables, "[plugins.misspelt]", ""]))
    return path


@pytest.fixture(scope="module")
def checked(config: Path) -> Done:
    return hubd("check-config", str(config))


def lines_of(done: Done, config: Path) -> Iterator[tuple[str, str]]:
    """The path and the sentence of each; each line must name the file and the line where that stands."""
    text = config.read_text().splitlines()
    for line in done.err.splitlines():
        found = re.fullmatch(rf"{re.escape(str(config))}:(\d+): ([a-z_.\[\]0-9]+): (.*)", line)
        assert found, line
        names = re.findall(r"[a-z_]+", found[2])
        assert names[-1] in text[int(found[1]) - 1] or names[1] in text[int(found[1]) - 1], line
        yield found[2], found[3].replace(str(FOLDER), "FOLDER").replace(str(config.parent / "other"), "OTHER")


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "misspelt"])
def test_it_is_refused(name: str, checked: Done, config: Path) -> None:
    assert dict(lines_of(checked, config))[f"plugins.{name}"] == EXPECTED[name]


def test_all_of_it_at_once_and_nothing_else(checked: Done, config: Path) -> None:
    found = dict(lines_of(checked, config))
    assert (checked.code, checked.out) == (1, "")
    others = {
        "limits.ping_s": "has to be a number, without quotes",
        "hubd.plugins[0]": "no plugin 'nosuch' is installed; `hubd plugins` lists those that are",
        "hubd.plugins[1]": "no plugin 'unmarkd' is installed; did you mean unmarked?",
        "hubd.plugin_dirs": f"there is no folder {config.parent}/nowhere",
    }
    two = found.pop("plugins.misspelt")
    assert two.startswith("two plugins have the name 'misspelt': ")
    assert "FOLDER/misspelt.py" in two and "OTHER/misspelt.py" in two
    assert found == {f"plugins.{name}": text for name, text in EXPECTED.items() if name != "misspelt"} | others


def test_a_misspelt_hook(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[hubd]\nplugin_dirs = ["{FOLDER}"]\nplugins = ["misspelt"]\n')
    done = hubd("check-config", str(config))
    assert done == Done(1, "", f"{config}:3: hubd.plugins[0]: {EXPECTED['misspelt']}\n")


def test_no_secret_is_told(checked: Done) -> None:
    assert "secret" not in checked.err.replace("others", "") and "123456789" not in checked.err


def test_serve_says_the_same_and_leaves_what_was_saved(config: Path, checked: Done, tmp_path: Path) -> None:
    saved = tmp_path / "old.rings"
    saved.write_bytes(b"as it was")
    done = hubd("serve", "--port", "0", "--config", str(config), HUBD_REPLAY__SAVED_FILE=str(saved))
    assert done == checked
    assert saved.read_bytes() == b"as it was"


def test_commands_go_on_without(config: Path) -> None:
    done = hubd("--config", str(config), "--help")
    assert done.code == 0 and "check-config" in done.out
    assert done.err.startswith("note: without the commands of plugins: ") and done.err.count("\n") == 1


def test_the_list_goes_on_without(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "config.toml"
    other.write_text(config.read_text().replace('[limits]\nping_s = "x"', ""))
    (tmp_path / "other").symlink_to(config.parent / "other")
    done = hubd("plugins", "--config", str(other))
    assert done.code == 1
    assert "\nunmarked  on  " in done.out and "\nexits  on  " in done.out
    assert "note: two plugins have the name 'misspelt'" in done.err
    assert done.err.endswith("hubd: the config turns on what isn't installed: nosuch, unmarkd\n")
