"""Writes down its life, and fails wherever its options say."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import click
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from hubd.plugin import Field, PluginConfig, PluginHub, Problem, Routes, SecretStr, hookimpl


class Plugin:
    class Config(PluginConfig):
        """A plugin that writes down its life."""

        file: str = Field("", description="Where it writes it to.")
        fails_in: str = Field("", description="In which of its hooks it fails.")
        how: str = Field("raises", description="What it does there: raises, hangs, blocks or exits.")
        greeting: str = Field("hello", description="What it says.")
        token: SecretStr = Field(SecretStr(""), description="A secret.")

    def __init__(self, config: Any) -> None:
        self.config = config
        self.name = ""
        self._note("made")

    def _note(self, what: str) -> None:
        if self.config.file:
            with Path(self.config.file).open("a") as file:
                file.write(f"{self.name or '?'} {what}\n")

    def _fails(self, hook: str) -> bool:
        return hook in self.config.fails_in.split(",")

    async def _maybe(self, hook: str) -> None:
        self._note(hook)
        if not self._fails(hook):
            return
        if self.config.how == "hangs":
            await asyncio.sleep(3600)
        self._now(hook)

    def _now(self, hook: str) -> None:
        if not self._fails(hook):
            return
        if self.config.how == "blocks":
            time.sleep(0.6)
        elif self.config.how == "exits":
            sys.exit(3)
        elif self.config.how == "says":
            raise Problem("unavailable", "the database is away")
        else:
            raise RuntimeError(self.config.token.get_secret_value())

    @hookimpl
    async def hubd_startup(self, hub: PluginHub) -> None:
        self.name = hub.name
        hub.log.info("on", greeting=self.config.greeting)
        if self._fails("task"):
            hub.start(self._task(), "stubborn")
        if self._fails("thread"):
            asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)
        await self._maybe("startup")

    async def _task(self) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except BaseException:
                continue

    @hookimpl
    async def hubd_shutdown(self) -> None:
        await self._maybe("shutdown")

    @hookimpl
    def hubd_reconfigure(self, config: Any) -> None:
        before, self.config = self.config, config
        self._note(f"reconfigure {config.greeting}")
        if self._fails("reconfigure") and before.greeting != config.greeting:
            self._now("reconfigure")

    @hookimpl
    async def hubd_prepare_notification(self) -> None:
        await self._maybe("prepare")

    @hookimpl
    def hubd_register_routes(self, routes: Routes) -> None:
        routes.public("GET", f"/api/{self.config.greeting}", self.greet)
        if self._fails("routes"):
            routes.public("GET", "/notifications", self.greet)

    async def greet(self, request: web.Request) -> web.Response:
        return web.json_response({"greeting": self.config.greeting})

    @hookimpl
    def hubd_register_commands(self, commands: click.Group) -> None:
        @commands.command(self.config.greeting)
        def greet() -> None:
            """Say it."""
            click.echo(f"{self.config.greeting}!")

        self._now("commands")

    @hookimpl
    def hubd_register_metrics(self, registry: CollectorRegistry) -> None:
        if self._fails("metrics"):
            Counter("foreign", "X", registry=registry)
