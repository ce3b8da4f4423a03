"""Lists that one moves in with keys and mouse: what is selected, and which line is the first that is seen."""

from dataclasses import dataclass


@dataclass(slots=True)
class Window:
    """Lines of a list through a window of `height` lines. `selected` is the index of the line that is selected.

    The window follows what is selected until it is scrolled away by the wheel.
    """

    count: int = 0
    height: int = 0
    first: int = 0
    selected: int | None = None
    follows: bool = True

    def settle(self) -> None:
        """Bring everything into its bounds, and what is selected into sight."""
        if self.selected is not None:
            self.selected = min(self.selected, self.count - 1) if self.count else None
        if self.selected is not None and self.follows:
            self.first = max(min(self.first, self.selected), self.selected - self.height + 1)
        self.first = max(0, min(self.first, self.count - self.height))

    def move(self, by: int) -> None:
        """Select the line so many below, or above where negative; from nothing, the first that is seen."""
        if self.count:
            start = self.selected + by if self.selected is not None else self.first
            self.selected = max(0, min(self.count - 1, start))
            self.follows = True
        self.settle()

    def select(self, index: int) -> None:
        """Select a line that is seen, without moving the window."""
        if 0 <= index < self.count:
            self.selected = index
            self.follows = True
        self.settle()

    def scroll(self, by: int) -> None:
        """Move the window alone."""
        self.follows = False
        self.first += by
        self.settle()

    def thumb(self) -> range | None:
        """The lines of the window at which the mark of a scroll bar stands; None where everything is seen."""
        if self.count <= self.height or self.height < 1:
            return None
        length = max(1, round(self.height * self.height / self.count))
        start = round((self.height - length) * self.first / (self.count - self.height))
        return range(start, start + length)
