"""Fuzzes one kind of input with atheris: ``python -m tests.fuzz.run frames -runs=1000 [FILE ...]``.

Options that begin with a dash are libFuzzer's. Without a folder or file it begins with the target's seeds. A file that
was found is tried again by naming it.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import atheris

TESTS = Path(__file__).parents[1]
RULES = TESTS / "fuzz" / "rules"


def modules_besides_rules() -> list[str]:
    files = [path for path in TESTS.rglob("*.py") if RULES not in path.parents]
    return [".".join(path.relative_to(TESTS.parent).with_suffix("").parts) for path in files]


# What is new about an input shows in the branches of the hub's code; and in those of the rules, where the hub leaves
# the checking to a library that isn't written in Python.
with atheris.instrument_imports(include=["hubd", "tests"], exclude=modules_besides_rules()):
    from tests.fuzz.every_target import TARGETS
    from tests.fuzz.target import Target
    from tests.fuzz.targets import planted

BY_LIBFUZZER = 0.5
"""How often libFuzzer changes the bytes, instead of the target an input of its kind."""


def main(arguments: list[str]) -> None:
    name, *options = arguments
    target = {**TARGETS, planted.TARGET.name: planted.TARGET}[name]
    with tempfile.TemporaryDirectory(prefix=f"hubd-fuzz-{name}-") as folder:
        if target.words:
            options += [f"-dict={write_words(target, Path(folder))}"]
        if all(option.startswith("-") for option in options):
            options += [str(new_corpus(Path(folder))), str(write_seeds(target, Path(folder)))]
        if not any(option.startswith("-max_len=") for option in options):
            options += [f"-max_len={target.max_bytes}"]
        atheris.Setup([name, *options], target.take, custom_mutator=mutator(target))
        atheris.Fuzz()


def mutator(target: Target) -> Callable[[bytes, int, int], bytes]:
    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < BY_LIBFUZZER:
            return bytes(atheris.Mutate(data, max_size))
        return target.mutate(data, random)[:max_size]

    return mutate


def new_corpus(folder: Path) -> Path:
    corpus = folder / "corpus"
    corpus.mkdir()
    return corpus


def write_seeds(target: Target, folder: Path) -> Path:
    seeds = folder / "seeds"
    seeds.mkdir()
    for number, seed in enumerate(target.seeds()):
        (seeds / f"{number:03}").write_bytes(seed)
    return seeds


def write_words(target: Target, folder: Path) -> Path:
    words = folder / "words"
    encoded = [word.encode("utf-8", "surrogateescape").hex(" ") for word in target.words if word]
    words.write_text("".join('"\\x' + word.replace(" ", "\\x") + '"\n' for word in encoded))
    return words


if __name__ == "__main__":
    main(sys.argv[1:])
