"""A hub with proxy_auth in it, which is asked directly."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hubd_proxy_auth import ProxyAuth

from hubd.plugin import Credentials, Identity, Problem
from hubd.testing import PluginWorld, hub_for
from tests.plugins.application import Application, options


@asynccontextmanager
async def asking(app: Application, **more: Any) -> AsyncIterator[PluginWorld]:
    async with hub_for(ProxyAuth, options(app, **more), name="proxy_auth") as world:
        yield world


def cookie(session: str = "s7", **more: Any) -> Credentials:
    return Credentials(None, {"cookie": f"session={session}"}, {"session": session}, **more)


async def ask(world: PluginWorld, credentials: Credentials | None = None) -> Identity | None:
    found: Identity | None = await world.plugin.hubd_authenticate(credentials or cookie())
    return found


async def refusal(world: PluginWorld, credentials: Credentials | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        await ask(world, credentials)
    return caught.value
