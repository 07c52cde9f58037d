"""The plugin itself: its hooks."""

from typing import TYPE_CHECKING

from hubd.plugin import Credentials, Identity, PluginHub, Problem, hookimpl
from hubd_proxy_auth.answers import Decision, Denied, NotMine, Unusable
from hubd_proxy_auth.desk import Desk, Found
from hubd_proxy_auth.metrics import Figures, Trouble
from hubd_proxy_auth.options import Options
from hubd_proxy_auth.questions import Question, has_proof_for_hub, question_of

if TYPE_CHECKING:
    import click
    from prometheus_client import CollectorRegistry

RETRY_S = 5.0


class ProxyAuth:
    """Asks the application who somebody is."""

    Config = Options

    def __init__(self, config: Options) -> None:
        self._config = config
        self._desk: Desk | None = None
        self._hub: PluginHub | None = None
        self._old: list[Desk] = []

    @hookimpl
    def hubd_register_metrics(self, registry: "CollectorRegistry") -> None:
        """Count."""
        self._figures = Figures(
            registry,
            lambda: self._desk.entries if self._desk else 0,
            lambda: self._desk.application.waiting if self._desk else 0,
        )

    @hookimpl
    def hubd_register_commands(self, commands: "click.Group") -> None:
        """Add `hubd proxy-auth`."""
        from hubd_proxy_auth.command import group_for

        commands.add_command(group_for(self._config))

    @hookimpl
    async def hubd_startup(self, hub: PluginHub) -> None:
        """Begin."""
        self._hub = hub
        self._trouble = Trouble(hub.clock, hub.log)
        self._desk = Desk(self._config, hub, self._note_call)

    @hookimpl
    def hubd_reconfigure(self, config: Options) -> None:
        """Ask by these options from now on; what was answered before doesn't count any more."""
        assert self._hub is not None and self._desk is not None
        before, self._config = self._desk, config
        self._desk = Desk(config, self._hub, self._note_call)
        self._old.append(before)
        self._hub.start(self._let_end(before), "let calls end")

    async def _let_end(self, before: Desk) -> None:
        assert self._hub is not None
        await self._hub.sleep(before.config.timeout_s)
        self._old.remove(before)
        await before.application.close()

    @hookimpl
    async def hubd_shutdown(self) -> None:
        """End what is under way."""
        for desk in (self._desk, *self._old):
            if desk is not None:
                await desk.application.close()

    @hookimpl
    def hubd_check_health(self) -> str | None:
        """Whether clients had better go elsewhere, if the config says that this matters."""
        if self._config.report_not_ready and self._trouble.is_recent:
            return f"the application can't be asked who users are: {self._trouble.why}"
        return None

    @hookimpl
    async def hubd_authenticate(self, credentials: Credentials) -> Identity | None:
        """Who it is, as the application says."""
        assert self._desk is not None
        try:
            question = question_of(credentials, self._config)
        except ValueError:
            raise Problem("unauthorized", "what you came with is not UTF-8") from None
        if question is None:
            self._figures.requests.labels("nothing").inc()
            self._check_fallback(credentials)
            return None
        found = await self._find(self._desk, question)
        if isinstance(found, Denied):
            raise Problem("unauthorized", found.reason or "the application doesn't let you in")
        if isinstance(found, NotMine):
            self._check_fallback(credentials)
            return None
        return found

    async def _find(self, desk: Desk, question: Question) -> Found:
        found = desk.kept(question)
        source = "kept" if found is not None else "joined" if desk.is_asking(question) else "call"
        self._figures.requests.labels(source).inc()
        if found is not None:
            return found
        try:
            return await desk.ask(question)
        except Unusable:
            message = "who you are can't be found out now; try again later"
            raise Problem("unavailable", message, retry_after=RETRY_S) from None

    def _check_fallback(self, credentials: Credentials) -> None:
        """Leave it to the hub's own tokens, or refuse them where they don't count."""
        if not self._config.fallback and has_proof_for_hub(credentials):
            raise Problem("unauthorized", "tokens of the hub's own don't count here: log in to the application")

    def _note_call(self, answer: Decision | Unusable, seconds: float) -> None:
        self._figures.note_call(answer, seconds)
        self._trouble.note(answer)
