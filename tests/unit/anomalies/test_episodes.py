from infer_opt.anomalies.episodes import Episode


def changes(episode: Episode, holds: str, *, start: int = 0) -> list[tuple[int, bool]]:
    """(second, whether it is open then) of every change; `x` in `holds` is a second in which the condition holds."""
    return [
        (second, episode.is_open) for second, one in enumerate(holds, start) if episode.see(float(second), one == "x")
    ]


def test_it_begins_when_it_has_held_for_long_enough_and_dates_back() -> None:
    episode = Episode(hold_s=5.0, clear_s=10.0)

    assert changes(episode, "..xxxxxxxx") == [(7, True)]
    assert episode.since_s == 2.0


def test_it_is_over_only_after_a_while_without() -> None:
    episode = Episode(hold_s=2.0, clear_s=5.0)

    assert changes(episode, "xxx" + "." * 4 + "x" + "." * 10) == [(2, True), (12, False)]


def test_a_condition_that_flickers_begins_once() -> None:
    episode = Episode(hold_s=5.0, clear_s=5.0)

    assert changes(episode, "xxx.xxx.xxx.xxx.") == [(5, True)]
    assert 0.7 < episode.share < 0.8


def test_a_condition_that_mostly_does_not_hold_never_begins() -> None:
    assert changes(Episode(hold_s=10.0, clear_s=5.0), "x.x.x." * 20) == []


def test_a_pause_before_it_began_begins_it_anew() -> None:
    episode = Episode(hold_s=4.0, clear_s=5.0)

    assert changes(episode, "xxx...xxx...xxxxxxx") == [(16, True)]
    assert episode.since_s == 12.0


def test_without_a_time_to_hold_one_moment_is_enough() -> None:
    assert changes(Episode(hold_s=0.0, clear_s=60.0), ".x" + "." * 80) == [(1, True), (61, False)]


def test_what_is_forgotten_ends_once() -> None:
    episode = Episode(hold_s=0.0, clear_s=60.0)
    changes(episode, "x")

    assert episode.forget()
    assert not episode.forget()
    assert not episode.is_open
