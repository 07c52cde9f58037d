"""A real, headless Firefox over WebDriver BiDi, with a push service of its own."""

import asyncio
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

WAIT_S = 30.0


def _preferences(push_service: str) -> dict[str, Any]:
    return {
        "dom.push.serverURL": f"ws://{push_service}/",
        "dom.push.testing.allowInsecureServerURL": True,
        "dom.push.connection.enabled": True,
        "dom.push.enabled": True,
        "alerts.useSystemBackend": False,
        "permissions.default.desktop-notification": 1,
        "dom.serviceWorkers.testing.enabled": True,
        "dom.webnotifications.requireuserinteraction": False,
        # Nothing of what it would ask the internet for.
        "network.proxy.type": 0,
        "app.update.enabled": False,
        "app.normandy.enabled": False,
        "browser.aboutwelcome.enabled": False,
        "browser.region.network.url": "",
        "browser.safebrowsing.malware.enabled": False,
        "browser.safebrowsing.phishing.enabled": False,
        "browser.shell.checkDefaultBrowser": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        "extensions.update.enabled": False,
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "network.http.http3.enable": False,
        "remote.prefs.recommended": True,
        "services.settings.server": "data:,#remote-settings-dummy/v1",
        "toolkit.telemetry.enabled": False,
    }


class Page:
    """One tab."""

    def __init__(self, firefox: "Firefox", context: str) -> None:
        self._firefox = firefox
        self.context = context

    async def go(self, url: str) -> None:
        await self._firefox.call("browsingContext.navigate", context=self.context, url=url, wait="complete")

    async def js(self, expression: str) -> Any:
        """What an expression gives, as JSON; promises are awaited."""
        wrapped = f"Promise.resolve({expression}).then((value) => JSON.stringify(value ?? null))"
        result = await self._firefox.call(
            "script.evaluate",
            expression=wrapped,
            target={"context": self.context},
            awaitPromise=True,
            userActivation=True,
        )
        assert result["type"] == "success", f"{expression}: {result['exceptionDetails']['text']}"
        return json.loads(result["result"]["value"])

    async def until(self, expression: str, wait_s: float = WAIT_S) -> Any:
        deadline = time.monotonic() + wait_s
        while not (value := await self.js(expression)):
            if time.monotonic() > deadline:
                raise AssertionError(f"never true: {expression}\n{await self.js('document.body.innerText')}")
            await asyncio.sleep(0.05)
        return value

    async def front(self) -> None:
        """In front of the other tabs."""
        await self._firefox.call("browsingContext.activate", context=self.context)

    async def close(self) -> None:
        await self._firefox.call("browsingContext.close", context=self.context)


class Firefox:
    """The browser, with a profile of its own."""

    async def start(self, profile: Path, push_service: str) -> None:
        program = shutil.which("firefox-esr")
        if program is None:
            pytest.fail("these tests need Firefox: apt-get install -y --no-install-recommends firefox-esr")
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in _preferences(push_service).items()
        ]
        (profile / "user.js").write_text("\n".join(lines))
        self._process = await asyncio.create_subprocess_exec(
            program, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0",
            "about:blank", stderr=-1, stdout=asyncio.subprocess.DEVNULL,
            env=os.environ | {"HOME": str(profile), "MOZ_DISABLE_CONTENT_SANDBOX": "1"},
        )  # fmt: skip
        assert self._process.stderr is not None
        line = b""
        while b"WebDriver BiDi listening on" not in line:
            line = await asyncio.wait_for(self._process.stderr.readline(), 60)
            assert line, "Firefox ended at once"
        self._drain = asyncio.create_task(self._process.stderr.read())
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(line.decode().split()[-1] + "/session", max_msg_size=0)
        self._number = 0
        await self.call("session.new", capabilities={})

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its result."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        while True:
            answer = await asyncio.wait_for(self._socket.receive_json(), WAIT_S)
            if answer.get("id") == self._number:
                assert answer["type"] == "success", answer
                result: dict[str, Any] = answer["result"]
                return result

    async def open(self, url: str) -> Page:
        """A page in a new tab."""
        page = Page(self, (await self.call("browsingContext.create", type="tab"))["context"])
        await page.go(url)
        return page

    async def allow_notifications(self, origin: str) -> None:
        await self.call(
            "permissions.setPermission", descriptor={"name": "notifications"}, state="granted", origin=origin
        )

    async def stop(self) -> None:
        await self._socket.close()
        await self._http.close()
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), 15)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._drain
