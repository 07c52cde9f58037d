"""The only one whose code is all right: it is its table that isn't."""

from hubd.plugin import Field, PluginConfig, SecretStr


class Plugin:
    class Config(PluginConfig):
        url: str
        count: int = Field(1, ge=1, le=9)
        token: SecretStr = SecretStr("")
        names: tuple[str, ...] = ()
        words: dict[str, int] = Field(default_factory=dict)
