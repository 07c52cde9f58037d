"""Watching a topic's presence: what changed, once, and never about oneself."""

from hypothesis import given
from hypothesis import strategies as st

from hubd.core.codec import Form
from hubd.core.registry import Registry
from hubd.core.users import UserNumbers
from hubd.core.watch import CHANGES, Watches
from hubd.testing import JSON_FORM
from tests.core.made import Idle, joined

Told = tuple[str, list[str], list[str]]


class World:
    """Watches, and a registry for those who watch."""

    def __init__(self) -> None:
        self.registry = Registry(UserNumbers())
        self.watches = Watches()

    def watcher(self, user: str, *topics: str, form: Form = JSON_FORM) -> Idle:
        connection = joined(user=user, registry=self.registry, form=form)
        for topic in topics:
            self.watches.watch(connection, topic)
        return connection

    def told(self, connection: Idle) -> list[Told]:
        return [(frame["topic"], frame["joined"], frame["left"]) for frame in connection.take()]


def test_who_watches_is_told_who_joined_and_who_left() -> None:
    world = World()
    ada = world.watcher("ada", "t")
    world.watches.joined("t", "bob")
    world.watches.joined("t", "cyd")
    world.watches.left("t", "dan")
    assert world.watches.tell() == [ada]
    assert ada.take() == [{"hub": "presence", "topic": "t", "joined": ["bob", "cyd"], "left": ["dan"]}]


def test_a_change_is_told_once() -> None:
    world = World()
    ada = world.watcher("ada", "t")
    world.watches.joined("t", "bob")
    world.watches.tell()
    ada.take()
    assert world.watches.tell() == [] and ada.outbox == []
    world.watches.left("t", "bob")
    world.watches.tell()
    assert world.told(ada) == [("t", [], ["bob"])]


def test_who_joined_and_left_meanwhile_did_neither() -> None:
    world = World()
    ada = world.watcher("ada", "t")
    world.watches.joined("t", "bob")
    world.watches.left("t", "bob")
    world.watches.left("t", "cyd")
    world.watches.joined("t", "cyd")
    assert world.watches.tell() == []
    assert ada.outbox == []


def test_nobody_is_told_about_himself() -> None:
    world = World()
    ada, second, bob = world.watcher("ada", "t"), world.watcher("ada", "t"), world.watcher("bob", "t")
    world.watches.joined("t", "ada")
    assert world.watches.tell() == [bob]
    assert ada.outbox == second.outbox == []
    world.watches.joined("t", "bob")
    world.watches.left("t", "ada")
    world.watches.tell()
    assert world.told(ada) == [("t", ["bob"], [])]
    assert world.told(bob)[-1] == ("t", [], ["ada"])


def test_what_nobody_watches_is_not_noted() -> None:
    world = World()
    ada = world.watcher("ada", "t")
    world.watches.joined("u", "bob")
    assert world.watches.tell() == []
    world.watches.watch(ada, "u")
    assert world.watches.tell() == []


def test_topics_are_told_apart() -> None:
    world = World()
    ada = world.watcher("ada", "t", "u")
    world.watches.joined("u", "bob")
    world.watches.left("t", "bob")
    assert world.watches.tell() == [ada], "to be flushed once"
    assert world.told(ada) == [("u", ["bob"], []), ("t", [], ["bob"])]


def test_watching_twice_is_watching_once() -> None:
    world = World()
    ada = world.watcher("ada", "t", "t")
    world.watches.joined("t", "bob")
    world.watches.tell()
    assert len(ada.take()) == 1
    world.watches.unwatch(ada, "t")
    world.watches.joined("t", "cyd")
    assert world.watches.tell() == []


def test_who_stops_watching_is_told_no_more() -> None:
    world = World()
    ada, bob = world.watcher("ada", "t", "u"), world.watcher("bob", "t")
    world.watches.joined("t", "cyd")
    world.watches.unwatch(ada, "t")
    world.watches.joined("u", "dan")
    assert world.watches.tell() == [bob, ada]
    assert world.told(ada) == [("u", ["dan"], [])]
    assert world.told(bob) == [("t", ["cyd"], [])]


def test_to_stop_what_one_doesnt_do_is_nothing() -> None:
    world = World()
    ada, bob = world.watcher("ada"), world.watcher("bob", "t")
    world.watches.unwatch(ada, "t")
    world.watches.unwatch(bob, "u")
    world.watches.drop(ada)
    world.watches.joined("t", "cyd")
    assert world.watches.tell() == [bob]


def test_who_is_gone_is_told_no_more_and_leaves_nothing_behind() -> None:
    world = World()
    ada = world.watcher("ada", "t", "u")
    world.watches.joined("t", "bob")
    world.watches.drop(ada)
    assert ada.watching == {}
    assert world.watches.tell() == []
    world.watches.joined("t", "cyd")
    world.watcher("dan", "t")
    assert world.watches.tell() == [], "changes of before are not his"


def test_a_frame_names_a_bounded_number_of_users() -> None:
    world = World()
    ada = world.watcher("ada", "t")
    for number in range(CHANGES):
        world.watches.joined("t", f"v{number}")
    world.watches.tell()
    (frame,) = ada.take()
    assert len(frame["joined"]) == CHANGES and "truncated" not in frame
    for number in range(CHANGES + 1):
        world.watches.joined("t", f"u{number}")
    world.watches.tell()
    (frame,) = ada.take()
    assert len(frame["joined"]) == CHANGES
    assert frame["truncated"] is True
    for number in range(CHANGES):
        world.watches.left("t", f"u{number}")
    world.watches.tell()
    (frame,) = ada.take()
    assert len(frame["left"]) == CHANGES
    assert "truncated" not in frame


def test_who_starts_between_a_change_and_its_frame_hears_of_what_is_taken_back() -> None:
    world = World()
    world.watcher("ada", "t")
    world.watches.left("t", "bob")
    late = world.watcher("late", "t")  # sees a list without bob
    world.watches.joined("t", "bob")
    world.watches.tell()
    assert world.told(late) == [("t", ["bob"], [])]
    world.watches.joined("t", "cyd")
    world.watches.left("t", "cyd")
    assert world.watches.tell() == [], "from here on all have the same list"


def test_one_frame_is_made_for_all_but_those_who_are_in_it() -> None:
    """So a crowd that watches a crowd costs no more than the frames of those few that one frame names."""
    made: list[bytes] = []

    def wrap(data: bytes, cursor: str) -> bytes:
        made.append(data)
        return data

    world, form = World(), Form("counting", "json", wrap)
    crowd = [world.watcher(f"w{number}", "t", form=form) for number in range(100)]
    second = world.watcher("w7", "t", form=form)
    for number in range(5 * CHANGES):
        world.watches.joined("t", f"v{number}")
    world.watches.left("t", "w7")
    world.watches.joined("t", "w8")  # behind so many others that no frame names it
    assert world.watches.tell() == [*crowd, second]
    assert len(made) == 2
    assert crowd[7].outbox == second.outbox != crowd[6].outbox
    assert len({id(frame) for one in crowd for frame in one.outbox}) == 2, "the same bytes, not copies"
    assert '"w8"' not in crowd[8].outbox[0].decode()


def test_without_oneself_there_may_be_no_more_than_a_frame_names() -> None:
    for extra, truncated in ((1, False), (2, True)):
        for place in (0, CHANGES - 1, CHANGES):
            world = World()
            ada = world.watcher("ada", "t")
            names = [f"v{number}" for number in range(CHANGES + extra - 1)]
            for user in [*names[:place], "ada", *names[place:]]:
                world.watches.joined("t", user)
            world.watches.tell()
            (frame,) = ada.take()
            assert frame["joined"] == names[:CHANGES]
            assert frame.get("truncated", False) is truncated


steps = st.lists(
    st.one_of(
        st.tuples(st.just("move"), st.sampled_from(["bob", "cyd", "w0"])),
        st.tuples(st.just("watch"), st.sampled_from(["w0", "w1", "w2"])),
        st.tuples(st.just("tell"), st.just("")),
    ),
    max_size=40,
)


@given(steps)
def test_the_list_and_the_frames_make_who_is_there(history: list[tuple[str, str]]) -> None:
    """Whoever starts from a list and follows the frames always ends up with the truth about the others."""
    world = World()
    there: set[str] = set()
    views: dict[str, tuple[Idle, set[str]]] = {}

    def tell() -> None:
        world.watches.tell()
        for connection, view in views.values():
            for _, came, went in world.told(connection):
                view |= set(came)
                view -= set(went)

    for what, user in history:
        if what == "move" and user in there:
            there.discard(user)
            world.watches.left("t", user)
        elif what == "move":
            there.add(user)
            world.watches.joined("t", user)
        elif what == "watch" and user not in views:
            views[user] = world.watcher(user, "t"), set(there)
        elif what == "tell":
            tell()
    tell()
    for user, (_, view) in views.items():
        assert view - {user} == there - {user}
