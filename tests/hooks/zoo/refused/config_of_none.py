from dataclasses import dataclass


class Plugin:
    @dataclass
    class Config:
        greeting: str = "hi"
