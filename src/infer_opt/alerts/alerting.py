"""The rules of a file, evaluated and acted upon; or no rules at all."""

from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from infer_opt.alerts.actions import Actions
from infer_opt.alerts.evaluating import Alerts
from infer_opt.alerts.rules import load_rules
from infer_opt.errors import AlertError
from infer_opt.readings.findings import AlertEvent, Finding
from infer_opt.readings.samples import Sample


class Alerting:
    """What a session of the monitor does about alerts. Without a file it does nothing, at no cost."""

    def __init__(self, rules: Path | None, *, finding_names: Collection[str] = ()) -> None:
        """Check the rules, and open what their actions need.

        With `finding_names`, all that there are, a rule that waits for another one is refused.

        Raises:
            ConfigError: a rule makes no sense; says which line.
            StorageError: the file cannot be read, or the log cannot be opened.
        """
        plan = None if rules is None else load_rules(rules, finding_names=finding_names)
        self._alerts = None if plan is None else Alerts(plan)
        self._actions = None if plan is None else Actions(plan)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._actions is not None:
            self._actions.close()

    def see(self, sample: Sample, findings: Sequence[Finding]) -> tuple[AlertEvent, ...]:
        """What began or ended with this sample and is to be shown; everything else is done."""
        if self._alerts is None or self._actions is None:
            return ()
        return self._actions.act(self._alerts.see(sample, findings))

    def firing(self) -> tuple[AlertEvent, ...]:
        """What fires now."""
        return () if self._alerts is None else self._alerts.firing()

    def notices(self) -> tuple[str, ...]:
        """What is to be said of the actions since the call before."""
        return () if self._actions is None else self._actions.notices()

    @property
    def error(self) -> AlertError | None:
        """The error that says which alert ended the session; None while none did."""
        return None if self._actions is None else self._actions.error

    @property
    def exit_code(self) -> int | None:
        """The code to leave with; None while no alert fired that gives one."""
        return None if self._actions is None else self._actions.exit_code
