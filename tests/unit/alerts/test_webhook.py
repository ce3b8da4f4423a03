import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infer_opt.alerts.plan import WebhookTarget
from infer_opt.alerts.webhook import Answer, Courier, post

SECRET = "T0PSECRET"
BODY = b'{"version": 1}'


class Receiver(ThreadingHTTPServer):
    """A webhook on the loopback that answers as `answers` say, the last one for ever, and keeps what it got."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, str]]] = [(200, {})]
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    def target(self, path: str = f"/{SECRET}?key={SECRET}", *, tries: int = 3) -> WebhookTarget:
        return WebhookTarget(
            url=f"http://127.0.0.1:{self.server_address[1]}{path}",
            address="http://127.0.0.1",
            headers=(("Authorization", f"Bearer {SECRET}"),),
            timeout_s=5.0,
            tries=tries,
        )


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))
        answers = self.server.answers
        status, headers = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    # A proxy of this machine's has no part in what stays on it.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def courier(
    target: WebhookTarget, post: Callable[[WebhookTarget, bytes], Answer], *, draw: float = 1.0, now: float = 0.0
) -> tuple[Courier, list[float]]:
    """A courier with a clock that only notes how long it would have slept."""
    slept: list[float] = []
    return Courier(target, sleep=slept.append, draw=lambda: draw, post=post, now=lambda: now), slept


def answering(*answers: Answer) -> Callable[[WebhookTarget, bytes], Answer]:
    left = iter(answers)
    return lambda target, body: next(left)


def http(status: int | None, retry_after: str | None = None) -> Answer:
    return Answer(status=status, why="no answer" if status is None else f"HTTP {status}", retry_after=retry_after)


TARGET = WebhookTarget(url=f"https://h.example/{SECRET}", address="https://h.example", tries=4)


# One post


def test_the_body_arrives_as_json_with_the_headers_of_the_rules(receiver: Receiver) -> None:
    answer = post(receiver.target(), BODY)

    ((path, headers, body),) = receiver.got
    assert (answer.is_taken, answer.status) == (True, 200)
    assert (path, body) == (f"/{SECRET}?key={SECRET}", BODY)
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert headers["User-Agent"] == "infer-opt"


@pytest.mark.parametrize(
    ("status", "is_taken", "is_passing"),
    [
        (204, True, False),
        (400, False, False),
        (404, False, False),
        (408, False, True),
        (429, False, True),
        (503, False, True),
    ],
)
def test_the_status_says_whether_to_try_again(
    receiver: Receiver, status: int, is_taken: bool, is_passing: bool
) -> None:
    receiver.answers = [(status, {"Retry-After": "7"})]

    answer = post(receiver.target(), BODY)

    assert (answer.status, answer.is_taken, answer.is_passing) == (status, is_taken, is_passing)
    assert is_taken or answer.retry_after == "7"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_on_the_same_host_gets_the_body_again(receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, {"Location": "/moved"}), (200, {})]

    assert post(receiver.target(), BODY).is_taken
    assert [(path, body) for path, _, body in receiver.got] == [(f"/{SECRET}?key={SECRET}", BODY), ("/moved", BODY)]


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/x",
        "https://127.0.0.1:{port}/x",
        "http://127.0.0.1:1/x",
        "http://a@127.0.0.1:{port}/",
        "//[",
    ],
)
def test_a_redirect_to_another_host_is_not_followed(receiver: Receiver, location: str) -> None:
    receiver.answers = [(307, {"Location": location.format(port=receiver.server_address[1])}), (200, {})]

    answer = post(receiver.target(), BODY)

    assert len(receiver.got) == 1
    assert (answer.is_taken, answer.is_passing) == (False, False)
    assert answer.why == "HTTP 307, a redirect to another place, which is not followed"


def test_redirects_that_go_round_come_to_an_end(receiver: Receiver) -> None:
    receiver.answers = [(308, {"Location": "/again"})]

    assert post(receiver.target(), BODY).why == "more than 3 redirects"
    assert len(receiver.got) == 4


def test_nobody_at_the_port_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    target = WebhookTarget(url=f"http://127.0.0.1:{port}/{SECRET}", address="http://127.0.0.1")

    answer = post(target, BODY)

    assert (answer.status, answer.is_taken, answer.is_passing) == (None, False, True)
    assert answer.why == "Connection refused"


def test_a_server_that_hangs_up_or_says_nothing_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}"
        answer = post(WebhookTarget(url=address, address="http://127.0.0.1", timeout_s=0.05), BODY)
        assert (answer.status, answer.why) == (None, "no answer within 0.05 s")

        def hang_up() -> None:
            for _ in range(2):
                silent.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        answer = post(WebhookTarget(url=address, address="http://127.0.0.1", timeout_s=5.0), BODY)
        thread.join()
        assert answer.is_passing
        assert SECRET not in answer.why


def test_a_url_that_cannot_be_sent_tells_nothing_of_itself() -> None:
    answer = post(WebhookTarget(url=f"http://127.0.0.1:1/{SECRET} \n", address="http://127.0.0.1"), BODY)

    assert answer.status is None
    assert SECRET not in answer.why


# Again and again


def test_what_may_pass_is_tried_again_after_longer_and_longer_pauses() -> None:
    one, slept = courier(TARGET, answering(http(503), http(None), http(429), http(200)))

    assert one.deliver(BODY) is None
    assert slept == [1.0, 2.0, 4.0]


def test_it_gives_up_after_so_many_tries_and_says_why() -> None:
    one, slept = courier(TARGET, answering(*[http(503)] * 4))

    assert one.deliver(BODY) == "HTTP 503 (4 tries)"
    assert len(slept) == 3


def test_what_does_not_pass_is_not_tried_again() -> None:
    one, slept = courier(TARGET, answering(http(403)))

    assert one.deliver(BODY) == "HTTP 403"
    assert slept == []


def test_pauses_are_drawn_from_their_upper_half_so_that_not_all_come_back_at_once() -> None:
    one, slept = courier(TARGET, answering(*[http(503)] * 4), draw=0.0)
    one.deliver(BODY)

    assert slept == [0.5, 1.0, 2.0]


def test_pauses_have_an_end() -> None:
    target = WebhookTarget(url="https://h.example/", address="https://h.example", tries=20)
    one, slept = courier(target, answering(*[http(500)] * 20))
    one.deliver(BODY)

    assert max(slept) == 60.0


@pytest.mark.parametrize(
    ("asked", "pause_s"),
    [
        ("30", 30.0),
        (" 30 ", 30.0),
        ("0", 1.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 1.0),
        ("86400", 300.0),
        ("soon", 1.0),
        ("-5", 1.0),
    ],
)
def test_a_server_may_ask_for_a_longer_pause(asked: str, pause_s: float) -> None:
    one, slept = courier(TARGET, answering(http(429, asked), http(200)), now=60.0)

    assert one.deliver(BODY) is None
    assert slept == [pause_s]


def test_in_a_hurry_each_is_tried_once() -> None:
    one, slept = courier(TARGET, answering(http(503), http(200)))

    assert one.deliver(BODY, lambda: True) == "HTTP 503"
    assert slept == []


def test_deliveries_over_http_end_as_the_server_says(receiver: Receiver) -> None:
    receiver.answers = [(503, {}), (429, {"Retry-After": "9"}), (200, {})]
    one, slept = courier(receiver.target(), post)

    assert one.deliver(BODY) is None
    assert slept == [1.0, 9.0]
    assert [body for _, _, body in receiver.got] == [BODY] * 3
