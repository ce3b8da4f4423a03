"""Posting an alert to a URL: patient with what passes, quick to give up what does not, silent about secrets.

No message shows more of the URL than scheme and host, and nothing of headers, bodies or answers.
"""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from infer_opt.alerts.plan import WebhookTarget

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LONGEST_WAIT_ASKED_S = 300.0  # what a server may ask for by Retry-After
MOST_REDIRECTS = 3

_REDIRECTS = (301, 302, 307, 308)
_PASSING = (408, 425, 429)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one try: the HTTP status, None where there was none, in a few words, and when to try again."""

    status: int | None
    why: str
    retry_after: str | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the alert has arrived."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_passing(self) -> bool:
        """Whether another try may end otherwise."""
        return self.status is None or self.status >= 500 or self.status in _PASSING


Post = Callable[[WebhookTarget, bytes], Answer]


class _NoRedirects(HTTPRedirectHandler):
    """Leaves redirects to `post`, which sends the body again and only to the same host."""

    def http_error_302(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage) -> None:
        """Not handled here: the error itself comes out."""

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def post(target: WebhookTarget, body: bytes) -> Answer:
    """Post `body` once. Redirects are followed on the same scheme, host and port alone."""
    opener = build_opener(_NoRedirects)
    headers = {"Content-Type": "application/json", "User-Agent": "infer-opt", **dict(target.headers)}
    url = target.url
    for _ in range(1 + MOST_REDIRECTS):
        request = Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - the rules allow http(s) alone
        try:
            with opener.open(request, timeout=target.timeout_s) as answer:
                return Answer(status=answer.status, why=f"HTTP {answer.status}")
        except HTTPError as error:
            with error:
                status, location = error.code, error.headers.get("Location")
                retry_after = error.headers.get("Retry-After")
        except (OSError, HTTPException, ValueError) as error:
            return Answer(status=None, why=_reason(error, target.timeout_s))
        if status not in _REDIRECTS or location is None:
            return Answer(status=status, why=f"HTTP {status}", retry_after=retry_after)
        moved = _same_place(url, location)
        if moved is None:
            return Answer(status=status, why=f"HTTP {status}, a redirect to another place, which is not followed")
        url = moved
    return Answer(status=status, why=f"more than {MOST_REDIRECTS} redirects")


def _same_place(url: str, location: str) -> str | None:
    """The URL that `location` names, if it is on the same scheme, host and port."""
    try:
        moved = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(moved)
        is_same = (here.scheme, here.hostname, here.port) == (there.scheme, there.hostname, there.port)
    except ValueError:
        return None
    return moved if is_same and there.username is None else None


def _reason(error: Exception, timeout_s: float) -> str:
    """Why there was no answer, in the system's words, which know nothing of the URL."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message})"
    if isinstance(reason, OSError) and reason.strerror:
        return str(reason.strerror)
    return "no answer" if isinstance(reason, str) else type(reason).__name__


class Courier:
    """Delivers one body after the other: again while a failure may pass, each time after a longer pause.

    `sleep` takes seconds, `draw` gives a number from 0 to 1, `now` the time of day (for a Retry-After that is a date).
    """

    def __init__(
        self,
        target: WebhookTarget,
        *,
        sleep: Callable[[float], object],
        draw: Callable[[], float],
        post: Post = post,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._target = target
        self._sleep = sleep
        self._draw = draw
        self._post = post
        self._now = now

    def deliver(self, body: bytes, is_hurried: Callable[[], bool] = lambda: False) -> str | None:
        """None once `body` has arrived, else why it did not. Nobody is waited for while `is_hurried()`."""
        tries = self._target.tries
        for attempt in range(1, tries + 1):
            answer = self._post(self._target, body)
            if answer.is_taken:
                return None
            if not answer.is_passing:
                return answer.why
            if attempt == tries or is_hurried():
                return answer.why if attempt == 1 else f"{answer.why} ({attempt} tries)"
            self._sleep(self._pause_s(attempt, answer.retry_after))
        return "not tried"

    def _pause_s(self, attempt: int, retry_after: str | None) -> float:
        """Doubled after each try, and not the same for everybody whom one failure has hit."""
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (attempt - 1))
        return max(longest * (0.5 + 0.5 * self._draw()), self._asked_s(retry_after))

    def _asked_s(self, retry_after: str | None) -> float:
        """Seconds in a Retry-After header: a number of them, or a date."""
        if retry_after is None:
            return 0.0
        text = retry_after.strip()
        if text.isdecimal():
            asked = float(text)
        else:
            try:
                asked = parsedate_to_datetime(text).timestamp() - self._now()
            except (ValueError, OverflowError):
                return 0.0
        return min(max(asked, 0.0), LONGEST_WAIT_ASKED_S)
