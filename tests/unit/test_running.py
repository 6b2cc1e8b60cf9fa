"""Work that ends while somebody else does something: comes back for other work, or is killed."""

from collections.abc import Callable
from pathlib import Path

import gevent
from gevent import socket
from gevent.event import Event as Signal

from proxy_app.running import Running, Task, Ticket
from proxy_app.running.works import Here, Work
from proxy_app.speech import Transcript
from proxy_app.telemetry import Cost
from proxy_app.upstreams import End, Tell

END = End(Transcript((), 1.0), {})


def task(until: Signal, ending: Callable[[], object], released: Signal | None = None) -> Task:
    """One that goes on until the signal, and does something at its end."""

    def run(_tell: Tell) -> End:
        try:
            until.wait()
        finally:
            ending()
        return END

    return Task(run, lambda: "", Cost(), (released or Signal()).set)


def test_who_comes_back_while_other_deserted_work_ends_keeps_theirs(tmp_path: Path) -> None:
    running = Running(tmp_path / "running", linger_s=60)
    until = Signal()
    came_back: list[Here] = []

    def follow(name: str, most_deserted: int, ending: Callable[[], object]) -> Here:
        ticket = Ticket(name, "content", "client", most_deserted)
        followed = running.join(ticket, lambda: task(until, ending))
        gevent.sleep(0.01)  # it begins
        assert isinstance(followed, Here)
        return followed

    def nothing() -> None:
        pass

    def come_back() -> None:
        came_back.append(follow("second", 4, nothing))

    works = follow("first", 4, come_back), follow("second", 4, nothing), follow("third", 1, nothing)
    for each in works:
        each.close()
    until.set()
    (follower,) = came_back
    assert list(follower.events()) == [END]
    follower.close()
    running.drain(0, nothing)


def test_work_lets_its_files_go_even_if_who_stops_it_is_killed_before_it_has_ended() -> None:
    ending, may_end, released = Signal(), Signal(), Signal()

    def end_slowly() -> None:
        ending.set()
        may_end.wait()

    work = Work(task(Signal(), end_slowly, released), deserted=Work.stop, forget=lambda _work: None)
    gevent.sleep(0.01)  # it begins
    stopping = gevent.spawn(work.stop)
    assert ending.wait(10)
    stopping.kill()
    may_end.set()
    assert released.wait(10)
    assert work.has_ended


def test_who_gave_up_in_another_process_does_not_have_work_go_on_for_longer(
    tmp_path: Path,
) -> None:
    running, until = Running(tmp_path / "running", linger_s=60), Signal()
    mine = running.join(Ticket("work", "content", "client"), lambda: task(until, lambda: None))
    mine.close()
    work = running._held["work"].work
    since = work.deserted_at
    assert since is not None
    (address,) = (tmp_path / "running").glob("*.socket")
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(address))
        other.sendall(b"work\n")
    gevent.sleep(0.1)  # it is read only now
    assert work.deserted_at == since
    until.set()
    running.drain(0, lambda: None)
