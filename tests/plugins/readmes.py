"""What a plugin's README says, for the tests that compare it with the plugin."""

import re
from pathlib import Path


class Readme:
    """The README of one plugin; ``text`` is all of it."""

    def __init__(self, plugin: str) -> None:
        self.text = (Path(__file__).parents[2] / f"plugins/hubd_{plugin}/README.md").read_text()

    def block(self, mark: str) -> str:
        """The code behind a mark."""
        found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", self.text, re.DOTALL)
        assert found
        return found[1]

    def rows(self, heading: str) -> dict[str, list[str]]:
        """The table that comes first after this text, by its first cells."""
        table = re.search(r"(\| .*?)\n\n", self.text.partition(heading)[2], re.DOTALL)
        assert table
        cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].split("\n")[2:]]
        return {name: row[1:] for row in cells for name in re.findall(r"`([a-z_]+)`", row[0])}
