from collections.abc import AsyncIterator

from hubd.plugin import hookimpl


class Plugin:
    @hookimpl
    async def hubd_authorize_subscribe(self) -> AsyncIterator[str]:
        yield "news"
