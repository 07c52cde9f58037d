"""Answers that are kept: for how long, and how many."""

from hubd_proxy_auth.kept import Kept


def test_until_its_time_is_over() -> None:
    kept: Kept[str] = Kept(10)
    kept.put(b"a", "A", until=5.0)
    assert (kept.get(b"a", 4.9), len(kept)) == ("A", 1)
    assert (kept.get(b"a", 5.0), len(kept)) == (None, 0)
    assert kept.get(b"b", 0.0) is None


def test_a_new_one_takes_the_olds_place() -> None:
    kept: Kept[str] = Kept(10)
    kept.put(b"a", "A", until=5.0)
    kept.put(b"a", "B", until=9.0)
    assert (kept.get(b"a", 8.0), len(kept)) == ("B", 1)


def test_the_one_used_longest_ago_goes_first() -> None:
    kept: Kept[str] = Kept(2)
    kept.put(b"a", "A", until=9.0)
    kept.put(b"b", "B", until=9.0)
    kept.get(b"a", 1.0)
    kept.put(b"c", "C", until=9.0)
    assert [kept.get(key, 1.0) for key in (b"a", b"b", b"c")] == ["A", None, "C"]
    kept.put(b"a", "A", until=9.0)
    kept.put(b"d", "D", until=9.0)
    assert [kept.get(key, 1.0) for key in (b"a", b"c", b"d")] == ["A", None, "D"]
