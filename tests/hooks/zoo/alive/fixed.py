"""Takes over no options while it runs."""

from typing import Any

from hubd.plugin import PluginConfig


class Plugin:
    class Config(PluginConfig):
        word: str
        file: str = ""

    def __init__(self, config: Any) -> None:
        self.config = config
