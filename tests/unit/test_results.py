from fakes import MS, make_readings


def test_a_percentile_without_evidence_is_none_and_so_is_one_that_was_not_taken() -> None:
    readings = make_readings(2.0 * MS)

    assert readings.quantile_ns(0.5) == 2.0 * MS
    assert readings.quantile_ns(0.99) is None
    assert readings.quantile_ns(0.999) is None
