"""The application that is asked: one call over HTTP, bounded in time, size and number."""

import asyncio

from hubd.plugin import Egress, EgressFailed, EgressRefused
from hubd_proxy_auth.answers import ANSWER_BYTES, Decision, Unusable, read_answer
from hubd_proxy_auth.options import Options
from hubd_proxy_auth.questions import Question
from hubd_proxy_auth.turns import Turns


class Application:
    """Asks as one config says; `close` when there is another one, or at the end."""

    def __init__(self, config: Options) -> None:
        self.config = config
        self.waiting = 0
        self._egress = Egress(config.allow_hosts, connections=config.concurrency, per_host=config.concurrency)
        # The client has as many connections, but it refuses a crowd at once; here they wait for as long as they may.
        self._turns = Turns(config.concurrency)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if config.secret is not None:
            self._headers["Authorization"] = f"Bearer {config.secret.get_secret_value()}"

    async def ask(self, question: Question) -> Decision:
        """What it says; ``Unusable`` when it says nothing in time, or nothing that counts."""
        timeout_s = self.config.timeout_s
        self.waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._turns.take(question.address)
                try:
                    return read_answer(
                        await self._egress.send(
                            "POST",
                            self.config.url,
                            headers=self._headers,
                            body=question.body,
                            timeout_s=timeout_s,
                            answer_bytes=ANSWER_BYTES,
                        )
                    )
                finally:
                    self._turns.give_back()
        except TimeoutError:
            raise Unusable("timeout") from None
        except (EgressFailed, EgressRefused) as error:
            raise Unusable(str(error)) from None
        finally:
            self.waiting -= 1

    async def close(self) -> None:
        """End what is under way, and close the connections."""
        await self._egress.close()
