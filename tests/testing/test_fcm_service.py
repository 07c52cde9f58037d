"""The stand-in for FCM over HTTP, called as anybody would call FCM."""

import json
import stat
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hubd.testing import FakeClock
from hubd.testing.fcm_quotas import FcmLimits
from hubd.testing.fcm_service import ERRORS, FcmAnswer, FcmService, Mishap, error

MESSAGE: dict[str, Any] = {"token": "t1", "data": {"notification": '{"id": "n1"}'}}
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


class Caller:
    """Calls with an access token that the service has given."""

    def __init__(self, service: FcmService, session: aiohttp.ClientSession) -> None:
        self.service = service
        self.session = session
        self.token = service.tokens.give()

    async def send(self, message: Any, **more: Any) -> tuple[int, dict[str, Any], str]:
        headers = {"Authorization": f"Bearer {self.token}"}
        body = {"message": message, **more}
        async with self.session.post(self.service.url, json=body, headers=headers) as response:
            return response.status, await response.json(), response.headers.get("Retry-After", "")


async def called(service: FcmService, *messages: Any) -> list[tuple[int, dict[str, Any], str]]:
    async with aiohttp.ClientSession() as session:
        caller = Caller(service, session)
        return [await caller.send(message) for message in messages]


async def test_what_is_taken_is_there_to_be_looked_at() -> None:
    async with FcmService("proj") as service:
        [(status, answer, _)] = await called(service, MESSAGE)
        assert status == 200 and answer["name"].startswith("projects/proj/messages/")
        [pushed] = service.pushes
        assert (pushed.token, pushed.project, pushed.message) == ("t1", "proj", MESSAGE)
        assert pushed.data == MESSAGE["data"] and pushed.notification == {"id": "n1"}


async def test_who_may_not_send() -> None:
    async with FcmService() as service, aiohttp.ClientSession() as session:
        caller = Caller(service, session)
        caller.token = "other"
        status, answer, _ = await caller.send(MESSAGE)
        assert (status, answer["error"]["status"]) == (401, "UNAUTHENTICATED")
        url = f"{service.endpoint}/v1/projects/other/messages:send"
        headers = {"Authorization": f"Bearer {service.tokens.give()}"}
        async with session.post(url, json={"message": MESSAGE}, headers=headers) as response:
            assert response.status == 403
        assert not service.pushes


async def test_what_is_wrong_is_said_by_field() -> None:
    async with FcmService() as service:
        [(status, answer, _)] = await called(service, MESSAGE | {"android": {"ttl": "soon"}})
        assert status == 400
        details = {one["@type"].rpartition(".")[2]: one for one in answer["error"]["details"]}
        assert details["FcmError"]["errorCode"] == "INVALID_ARGUMENT"
        assert [one["field"] for one in details["BadRequest"]["fieldViolations"]] == ["message.android.ttl"]


async def test_what_is_no_json() -> None:
    async with FcmService() as service, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {service.tokens.give()}"}
        async with session.post(service.url, data=b"{", headers=headers) as response:
            assert response.status == 400


async def test_tokens_that_are_none_or_not_registered() -> None:
    async with FcmService() as service:
        service.unregistered.add("t1")
        service.invalid.add("t2")
        answers = await called(service, MESSAGE, MESSAGE | {"token": "t2"})
        assert [status for status, _, _ in answers] == [404, 400]
        assert answers[0][1]["error"]["details"][0] == {"@type": FCM_ERROR, "errorCode": "UNREGISTERED"}
        assert "not a valid FCM registration token" in answers[1][1]["error"]["message"]


@pytest.mark.parametrize("code", ERRORS)
async def test_every_error_as_google_writes_it(code: str) -> None:
    async with FcmService() as service:
        service.script = lambda message: error(code, retry_after="7")
        [(status, answer, retry_after)] = await called(service, MESSAGE)
        known = ERRORS[code]
        assert (status, answer["error"]["code"], answer["error"]["status"]) == (known[0], known[0], known[1])
        assert answer["error"]["details"] == [{"@type": FCM_ERROR, "errorCode": code}]
        assert retry_after == "7"
        assert not service.pushes


async def test_quotas_are_counted_and_said() -> None:
    async with FcmService(clock=FakeClock(), limits=FcmLimits(device_minute=1, project_minute=2)) as service:
        other = MESSAGE | {"token": "t2"}
        answers = await called(service, MESSAGE, MESSAGE, other, other)
        assert [status for status, _, _ in answers] == [200, 429, 200, 429]
        kinds = [[one["@type"].rpartition(".")[2] for one in answers[k][1]["error"]["details"]] for k in (1, 3)]
        assert kinds == [["FcmError", "QuotaFailure"], ["ErrorInfo"]]
        assert all(int(answers[k][2]) >= 60 for k in (1, 3))
        assert [one.quota for one in service.exceeded] == ["device_minute", "project_minute"]


@pytest.mark.parametrize(
    ("more", "collapsible"),
    [
        ({}, False),
        ({"android": {"collapse_key": "k"}}, True),
        ({"notification": {"title": "x"}}, True),
        ({"android": {"notification": {"title": "x"}}}, True),
    ],
)
async def test_what_counts_as_collapsible(more: dict[str, Any], collapsible: bool) -> None:
    async with FcmService(clock=FakeClock()) as service:
        answers = await called(service, *[MESSAGE | more] * 21)
        assert (answers[-1][0] == 429) is collapsible
        assert [one.quota for one in service.exceeded] == ["collapsible"] * collapsible


async def test_a_trial_is_checked_and_not_sent() -> None:
    async with FcmService() as service, aiohttp.ClientSession() as session:
        status, _, _ = await Caller(service, session).send(MESSAGE, validate_only=True)
        assert status == 200 and not service.pushes


@pytest.mark.parametrize("mishap", Mishap)
async def test_mishaps(mishap: Mishap) -> None:
    async with FcmService() as service:
        service.script = lambda message: mishap
        timeout = aiohttp.ClientTimeout(total=0.2 if mishap is Mishap.SILENCE else 20)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            with pytest.raises(TimeoutError if mishap is Mishap.SILENCE else aiohttp.ClientError):
                await Caller(service, session).send(MESSAGE)


async def test_the_token_endpoint() -> None:
    async with FcmService() as service, aiohttp.ClientSession() as session:
        async with session.post(service.token_url, data={"grant_type": "x"}) as response:
            assert response.status == 400
            assert (await response.json())["error"] == "unsupported_grant_type"
        service.token_script = lambda: FcmAnswer(503, b"{}")
        async with session.post(service.token_url, data={}) as response:
            assert response.status == 503


async def test_the_account_s_file(tmp_path: Path) -> None:
    async with FcmService("proj") as service:
        options = service.options(tmp_path, message="notification")
        path = Path(options["service_account_file"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        account = json.loads(path.read_text())
        assert account["project_id"] == "proj" and account["token_uri"] == service.token_url
        assert (options["endpoint"], options["message"]) == (service.endpoint, "notification")
