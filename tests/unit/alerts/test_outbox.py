import threading

from infer_opt.alerts.outbox import Outbox
from infer_opt.alerts.plan import WebhookTarget
from infer_opt.alerts.webhook import Answer

SECRET = "T0PSECRET"
TARGET = WebhookTarget(
    url=f"https://me:{SECRET}@h.example/{SECRET}?q={SECRET}", address="https://h.example",
    headers=(("Authorization", SECRET),), tries=2,
)  # fmt: skip
OK, DOWN, REFUSED = (
    Answer(status=200, why="HTTP 200"),
    Answer(status=503, why="HTTP 503"),
    Answer(status=404, why="HTTP 404"),
)


class Server:
    """Answers posts one by one as it is told; each waits until `go` is set, and tells when `count` have come."""

    def __init__(self, *answers: Answer, is_open: bool = True) -> None:
        self.answers = list(answers)
        self.got: list[bytes] = []
        self.go = threading.Event()
        self.changed = threading.Condition()
        if is_open:
            self.go.set()

    def post(self, target: WebhookTarget, body: bytes) -> Answer:
        with self.changed:
            self.got.append(body)
            self.changed.notify_all()
        assert self.go.wait(10)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.got) >= count, 10)


def outbox(server: Server, *, most_waiting: int = 100) -> Outbox:
    return Outbox(TARGET, most_waiting=most_waiting, post=server.post, sleep=lambda s: None, draw=lambda: 0.5)


def test_bodies_are_delivered_in_their_order() -> None:
    server = Server(OK)
    box = outbox(server)

    for number in range(20):
        box.put(b"%d" % number)

    assert box.close() == ()
    assert server.got == [b"%d" % number for number in range(20)]


def test_an_outage_is_told_once_and_its_end_once() -> None:
    server = Server(REFUSED, REFUSED, REFUSED, OK)
    box = outbox(server)

    for number in range(5):
        box.put(b"%d" % number)
    server.wait_for(5)

    assert box.close() == (
        "alerts do not reach https://h.example: HTTP 404; the next ones are tried all the same",
        "alerts reach https://h.example again; 3 were lost",
        "3 alerts never reached https://h.example",
    )


def test_a_body_is_given_up_after_its_tries() -> None:
    server = Server(DOWN)
    box = outbox(server)
    box.put(b"a")
    server.wait_for(2)
    said = box.close()

    assert server.got == [b"a", b"a"]
    assert said == (
        "alerts do not reach https://h.example: HTTP 503 (2 tries); the next ones are tried all the same",
        "1 alert never reached https://h.example",
    )


def test_a_full_queue_drops_the_oldest_and_says_so_once() -> None:
    server = Server(OK, is_open=False)
    box = outbox(server, most_waiting=2)

    box.put(b"in hand")
    server.wait_for(1)
    for number in range(5):
        box.put(b"%d" % number)
    told = box.notices()
    server.go.set()

    assert told == ("2 alerts wait for https://h.example; the oldest are dropped from now on",)
    assert box.close() == (
        "alerts reach https://h.example again; 3 were lost",
        "3 alerts never reached https://h.example",
    )
    assert server.got == [b"in hand", b"3", b"4"]


def test_closing_waits_only_so_long_and_says_how_many_were_lost() -> None:
    server = Server(OK, is_open=False)
    box = outbox(server)
    for number in range(3):
        box.put(b"%d" % number)
    server.wait_for(1)

    assert box.close(patience_s=0.01) == ("3 alerts never reached https://h.example",)
    server.go.set()


def test_closing_ends_a_pause_and_tries_what_waits_once_more() -> None:
    server = Server(Answer(status=503, why="HTTP 503", retry_after="300"), OK)
    in_pause = threading.Event()

    def draw() -> float:
        in_pause.set()
        return 1.0

    box = Outbox(TARGET, post=server.post, draw=draw)
    box.put(b"a")
    assert in_pause.wait(10)

    assert box.close() == ()
    assert server.got == [b"a", b"a"]


def test_putting_never_waits_for_the_server() -> None:
    server = Server(OK, is_open=False)
    box = outbox(server)
    for number in range(1000):
        box.put(b"%d" % number)

    server.go.set()
    box.close()
    assert server.got[-1] == b"999"


def test_nothing_that_is_said_shows_more_than_scheme_and_host() -> None:
    server = Server(DOWN, REFUSED, is_open=False)
    box = outbox(server, most_waiting=1)
    for number in range(3):
        box.put(b"%d" % number)
    server.go.set()
    said = " ".join(box.close())

    assert "https://h.example" in said
    assert SECRET not in said
