"""The sentences of explanations, where no hub is needed for them."""

import pytest

from hubd.explaining_words import STEPS, Standing, duration, text_of, verdict_of


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.0034, "3 ms"), (1, "1 s"), (7.26, "7.26 s"), (90, "90 s"), (600, "10 min"), (7200, "2 h")],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("step", ["joined", "proved", "push_begun", "no_route", "released", "held", "dropped"])
def test_steps_name_the_user_or_the_reason(step: str) -> None:
    assert step in STEPS
    text = text_of({"at": 0, "step": step, "reason": "quiet"}, "ada")
    assert ("ada" in text or "quiet" in text) and text.endswith(".")


def test_a_gate_whose_reason_was_put_together_with_others() -> None:
    fields = {"plugin": None, "reason": None, "action": "drop", "ways": ["live", "push"], "late": False}
    text = text_of({"at": 0, "at_latest": 5, "step": "gate", **fields}, "ada")
    assert "isn't known one by one any more" in text and "at_latest" in text


def standing(milestone: str | None, *channels: str, **more: object) -> Standing:
    given = Standing(milestone, "ada", channels, "important", "bufferable")
    return given._replace(**more)  # type: ignore[arg-type]  # whatever a test says


def test_many_channels_are_not_all_named() -> None:
    text = verdict_of(standing(None, *(f"t{number}" for number in range(1000))), [])
    assert text.endswith("t0, t1, t2 and 997 more channels.")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (standing("live_sent", due_in_s=3), "Without an ack it is pushed in 3 s"),
        (standing("live_sent", is_pushing=True), "no push service has taken it yet"),
        (standing("live_sent", has_no_route=True), "ada has no device"),
        (standing("pending"), "may still reach ada"),
        (standing("dropped(away)"), "what goes to everybody isn't pushed"),
        (standing("dropped(no_route)"), "no device to push to"),
        (standing("held(quiet)"), "Held (quiet): ada doesn't get it yet"),
        (standing("dropped(quiet)"), "dropped for ada (quiet)"),
        (standing("expired"), "ttl was over"),
        (standing("retracted"), "took it back"),
        (standing("pending", is_known=False), "the hub was started anew"),
        (standing(None, "user:bob:notifications"), "published to user:bob:notifications"),
        (standing(None), "published to nobody"),
    ],
)
def test_how_it_stands(given: Standing, words: str) -> None:
    assert words in verdict_of(given, [])


def test_connections_that_cannot_ack() -> None:
    step = {"step": "written", "connection": "c", "acks": False, "ended_at": None}
    assert "don't ack" in verdict_of(standing("live_sent"), [step])
    assert "has ended since" in verdict_of(standing("live_sent"), [step | {"ended_at": 1}])
