"""Whether what services don't know may go: not when it would be too many of an app's."""

import pytest

from hubd.push.gone import APPS, BUCKET_S, LEAST, WINDOW_S, GoneWatch

APP = ("apns", "one")
OTHER = ("apns", "two")


def watch() -> GoneWatch:
    return GoneWatch(10)


def all_answer(found: GoneWatch, numbers: range, now: float = 0.0) -> list[int]:
    """With which of these answers its app was trusted again."""
    return [number for number in numbers if found.answered(APP, number, now)]


def all_gone(found: GoneWatch, numbers: range, now: float = 0.0) -> list[int]:
    """Those that may go."""
    return [number for number in numbers if found.gone(APP, number, now) is None]


def test_of_sixty_that_are_all_gone_none_stays_away() -> None:
    found = watch()
    for number in range(1, LEAST):
        assert found.gone(APP, number, 1.0) is None, "so few say nothing"
    distrust = found.gone(APP, LEAST, 1.0)
    assert distrust is not None
    assert distrust.back is not None
    assert list(distrust.back) == [*range(1, LEAST + 1)]
    assert distrust.answered == LEAST
    assert found.distrusted == 1
    for number in range(LEAST + 1, 61):
        kept = found.gone(APP, number, 2.0)
        assert kept is not None
        assert kept.back is None
        assert not kept.is_over


def test_thirty_of_thirty_go() -> None:
    found = watch()
    assert len(all_gone(found, range(30))) == 30
    assert found.distrusted == 0


def test_two_percent_of_five_hundred_go() -> None:
    found = watch()
    for number in range(500):
        if number % 50 == 49:
            assert found.gone(APP, number, number / 10) is None
        else:
            assert not found.answered(APP, number, number / 10)
    assert found.distrusted == 0


@pytest.mark.parametrize(
    ("percent", "gone", "goes"), [(10, 10, True), (10, 11, False), (0, 1, False), (100, 100, True)]
)
def test_the_share_may_be_reached_but_not_passed(percent: int, gone: int, goes: bool) -> None:
    found = GoneWatch(percent)
    all_answer(found, range(100 - gone))
    assert (len(all_gone(found, range(100 - gone, 100))) == gone) is goes


def test_a_device_counts_once_however_often_it_is_asked() -> None:
    found = watch()
    for _ in range(1000):
        found.answered(APP, 1, 0.0)
        assert found.gone(APP, 2, 0.0) is None
    assert found.distrusted == 0


def test_one_app_says_nothing_about_another() -> None:
    found = watch()
    all_answer(found, range(1000))
    for number in range(1000, 1000 + LEAST - 1):
        assert found.gone(OTHER, number, 0.0) is None
    assert found.gone(OTHER, 2000, 0.0) is not None
    assert all_gone(found, range(3000, 3010)) == [*range(3000, 3010)]


def test_what_was_before_the_window_counts_no_more() -> None:
    found = watch()
    assert len(all_gone(found, range(40), 0.0)) == 40
    late = WINDOW_S + 2 * BUCKET_S
    assert len(all_gone(found, range(100, 140), late)) == 40, "they don't make 80"
    found = watch()
    assert len(all_gone(found, range(40), 0.0)) == 40
    assert len(all_gone(found, range(100, 140), WINDOW_S)) == 9, "within the window they do"


def test_those_from_all_minutes_of_the_window_come_back() -> None:
    found = watch()
    for number in range(49):
        assert found.gone(APP, number, number * 10.0) is None
    distrust = found.gone(APP, 49, 490.0)
    assert distrust is not None
    assert distrust.back is not None
    assert len(distrust.back) == 50


def test_a_trickle_stays_kept_however_long_it_lasts() -> None:
    found = watch()
    all_gone(found, range(60))
    for number in range(100, 140):
        assert found.gone(APP, number, (number - 99) * WINDOW_S) is not None
        found.tidy((number - 99) * WINDOW_S)
    assert found.distrusted == 1
    assert found.gone(APP, 141, 1e6) is not None


def test_it_is_trusted_again_when_enough_answered_well() -> None:
    found = watch()
    all_gone(found, range(60))
    found._apps[APP].clear()
    assert all_answer(found, range(1000, 1000 + LEAST), 50_000.0) == [1000 + LEAST - 1]
    assert found.distrusted == 0
    assert found.gone(APP, 3, 50_000.0) is None, "and what went before is forgotten"


def test_answers_that_are_as_bad_as_before_begin_anew() -> None:
    found = watch()
    all_gone(found, range(LEAST))
    assert all_answer(found, range(100, 100 + LEAST - 6)) == []
    assert all_gone(found, range(200, 206)) == []
    assert found.distrusted == 1, "6 of 50 are too many"
    assert all_answer(found, range(100, 100 + LEAST - 1)) == [], "it is counted from the start"
    assert all_answer(found, range(150, 151)) == [150]


def test_the_last_answer_may_be_one_that_is_gone() -> None:
    found = watch()
    all_gone(found, range(LEAST))
    all_answer(found, range(100, 100 + LEAST - 1))
    last = found.gone(APP, 200, 0.0)
    assert last is not None
    assert last.is_over
    assert found.distrusted == 0


def test_of_what_went_before_the_start_the_number_counts_but_not_the_share() -> None:
    found = watch()
    for number in range(10):
        found.went_before(APP, number, -100.0)
    all_answer(found, range(100, 100 + LEAST))
    assert found.distrusted == 0
    assert found.gone(APP, 200, 0.0) is None, "1 of 51, and those 10 went when it wasn't too many"
    found = watch()
    for number in range(40):
        found.went_before(APP, number, -100.0)
    assert len(all_gone(found, range(100, 109))) == 9
    distrust = found.gone(APP, 109, 0.0)
    assert distrust is not None
    assert distrust.back is not None
    assert len(distrust.back) == LEAST, "those from before come back, too"


def test_what_went_before_the_start_is_over_in_its_time() -> None:
    found = watch()
    for number in range(40):
        found.went_before(APP, number, -500.0)
    assert len(all_gone(found, range(100, 140), 200.0)) == 40


def test_apps_are_watched_in_a_bounded_number_and_forgotten() -> None:
    found = watch()
    for number in range(2 * APPS):
        found.answered(("fcm", f"app{number}"), number, 0.0)
    assert len(found) == APPS + 1
    found.tidy(WINDOW_S + BUCKET_S)
    assert len(found) == 0


def test_those_beyond_share_one_watch() -> None:
    found = watch()
    for number in range(APPS):
        found.answered(("fcm", f"app{number}"), number, 0.0)
    gone = [found.gone(("fcm", f"more{number}"), number, 0.0) for number in range(LEAST)]
    assert gone[-1] is not None
    assert gone[:-1] == [None] * (LEAST - 1)


def test_very_many_answers_cost_little_memory() -> None:
    found = watch()
    all_gone(found, range(LEAST))
    for number in range(40):
        found.answered(APP, number, number * 1000.0)
    assert not found._apps[APP]._minutes, "no minutes are kept for an app that isn't trusted"


def test_one_user_cant_have_a_whole_app_distrusted() -> None:
    found = GoneWatch(10)
    for number in range(300):
        found.answered(APP, number, 0.0)
    for number in range(1000, 1200):
        assert found.gone(APP, number, 1.0, owner=7) is None
    assert found.distrusted == 0


def test_but_what_of_his_went_comes_back_with_the_others() -> None:
    found = GoneWatch(10)
    for number in range(1000, 1010):
        found.gone(APP, number, 1.0, owner=7)
    distrust = None
    for number in range(LEAST):
        distrust = distrust or found.gone(APP, number, 2.0, owner=100 + number)
    assert distrust is not None and distrust.back is not None and set(range(1000, 1010)) <= {*distrust.back}
