import pytest

from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import CATALOGUE, Unit, key_of, quantity_of, split


def test_keys_are_written_and_taken_apart_alike() -> None:
    parts = [
        ("memory", None, "total_bytes"),
        ("cpu", "3", "busy"),
        ("gpu", "0.mig1", "power_watts"),
        ("filesystem", "/", "free_bytes"),
    ]

    for family, instance, name in parts:
        assert split(key_of(family, name, instance)) == (family, instance, name)
    assert key_of("cpu", "busy", 0) == "cpu[0].busy"
    assert key_of("cpu", "busy") == "cpu.busy"


@pytest.mark.parametrize(
    "key", ["", "cpu", "cpu.", ".busy", "cpu[].busy", "cpu[1.busy", "CPU.busy", "cpu.busy ", "a.b.c"]
)
def test_what_is_not_written_as_a_key_is_refused_with_how_it_is(key: str) -> None:
    with pytest.raises(ConfigError, match="is not the name of a reading") as caught:
        quantity_of(key)

    assert "gpu[0].power_watts" in str(caught.value.hint)


def test_an_unknown_reading_is_refused_with_those_of_its_family() -> None:
    with pytest.raises(ConfigError, match=r"there is no reading filesystem\.size") as caught:
        quantity_of("filesystem[/].size")

    assert caught.value.hint == "filesystem has total_bytes, free_bytes"


def test_an_unknown_family_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"there is no reading tpu\.busy") as caught:
        quantity_of("tpu.busy")

    assert "cpu, pressure, memory" in str(caught.value.hint)


def test_an_instance_is_of_the_same_quantity() -> None:
    assert quantity_of("cpu[3].busy") is quantity_of("cpu.busy")


def test_every_quantity_is_whole() -> None:
    for (family, name), quantity in CATALOGUE.items():
        assert (quantity.family, quantity.name) == (family, name)
        assert quantity_of(key_of(family, name)) is quantity
        assert quantity.definition
        assert quantity.command
        assert not quantity.definition.endswith(".")


def test_units_stand_in_names_and_ratios_have_none() -> None:
    endings = {
        Unit.BYTES: "_bytes", Unit.BYTES_PER_SECOND: "_bytes_per_second", Unit.PER_SECOND: "_per_second",
        Unit.CORES: "_cores", Unit.HERTZ: "_hertz", Unit.CELSIUS: "_celsius", Unit.WATTS: "_watts",
        Unit.JOULES: "_joules", Unit.SECONDS: "_seconds",
    }  # fmt: skip

    for quantity in CATALOGUE.values():
        if quantity.unit in endings:
            assert quantity.name.endswith(endings[quantity.unit]), quantity
        else:
            assert not quantity.name.endswith(tuple(endings.values())), quantity


def test_counters_only_grow_and_are_marked() -> None:
    counters = {key_of(*place) for place, quantity in CATALOGUE.items() if quantity.is_counter}

    assert counters == {"memory.oom_kills", "cgroup.oom_kills", "gpu.energy_joules", "gpu.uncorrected_errors"}
