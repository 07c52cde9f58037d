from typing import Any

from pydantic import model_validator

from hubd.plugin import PluginConfig


class Plugin:
    class Config(PluginConfig):
        @model_validator(mode="before")
        @classmethod
        def check(cls, values: Any) -> Any:
            raise RuntimeError("secret in the message")
