"""What is done when alerts begin and end: lines in a log, posts to a webhook, and an exit code to leave with."""

import json
import platform
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from infer_opt.alerts.documents import as_document
from infer_opt.alerts.log import AlertLog
from infer_opt.alerts.plan import Action, AlertPlan, WebhookTarget
from infer_opt.errors import AlertError
from infer_opt.readings.findings import AlertEvent, AlertState

if TYPE_CHECKING:
    from infer_opt.alerts.outbox import Outbox


def _open_outbox(target: WebhookTarget) -> "Outbox":
    # With it come ssl and the rest of HTTP, and a thread: only where a webhook is set up.
    from infer_opt.alerts.outbox import Outbox

    return Outbox(target)


class Actions:
    """Carries out the actions of a plan's rules.

    Raises:
        StorageError: the alert log cannot be opened.
    """

    def __init__(
        self,
        plan: AlertPlan,
        *,
        host: str | None = None,
        open_log: Callable[..., AlertLog] = AlertLog,
        open_outbox: "Callable[[WebhookTarget], Outbox]" = _open_outbox,
    ) -> None:
        self._plan = plan
        self._of = {rule.name: rule.actions for rule in plan.rules}
        self._host = host or platform.node() or "localhost"
        self._log = None if plan.log is None else open_log(plan.log)
        self._outbox = None if plan.webhook is None else open_outbox(plan.webhook)
        self._said: list[str] = []
        self._ending: AlertEvent | None = None

    def act(self, events: Iterable[AlertEvent]) -> tuple[AlertEvent, ...]:
        """Do what the rules of these events say, without waiting for anybody; gives back those for the screen."""
        shown = []
        for event in events:
            actions = self._of.get(event.rule, frozenset())
            if Action.LOG in actions and self._log is not None:
                said = self._log.append(event)
                self._said += [] if said is None else [said]
            if Action.WEBHOOK in actions and self._outbox is not None:
                self._outbox.put(json.dumps(as_document(event, self._host)).encode())
            if Action.EXIT in actions and event.state is AlertState.FIRING and self._ending is None:
                self._ending = event
            if Action.SCREEN in actions:
                shown.append(event)
        return tuple(shown)

    def notices(self) -> tuple[str, ...]:
        """What is to be said of the actions themselves since the last call: a full disk, a webhook out of reach."""
        said, self._said = tuple(self._said), []
        return said if self._outbox is None else (*said, *self._outbox.notices())

    @property
    def exit_code(self) -> int | None:
        """The code to leave with; None while no alert has fired that is told to end the monitor."""
        return None if self._ending is None else self._plan.exit_code

    @property
    def error(self) -> AlertError | None:
        """The error that says which alert ended the monitor; None while none did. Leave with `exit_code`."""
        if self._ending is None:
            return None
        return AlertError(f"alert {self._ending.rule}: {self._ending.what}", hint="the rule has exit among its actions")

    def close(self) -> tuple[str, ...]:
        """Have what is on its way arrive, for a few seconds at most; what is to be said of it. Safe to call twice."""
        outbox, self._outbox = self._outbox, None
        said = self.notices()
        return said if outbox is None else (*said, *outbox.close())
