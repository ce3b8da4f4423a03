import pytest

from infer_opt.prometheus.names import metric_of, reading_names
from infer_opt.readings.catalogue import CATALOGUE


@pytest.mark.parametrize(
    ("key", "exposed", "labels"),
    [
        ("memory.available_bytes", "infer_opt_memory_available_bytes", {}),
        ("memory.total_bytes", "infer_opt_memory_total_bytes", {}),
        ("memory.oom_kills", "infer_opt_memory_oom_kills_total", {}),
        ("cpu.busy", "infer_opt_cpu_busy_ratio", {}),
        ("cpu[3].busy", "infer_opt_core_busy_ratio", {"core": "3"}),
        ("cpu.load_1m", "infer_opt_cpu_load_1m", {}),
        ("pressure.io_full", "infer_opt_pressure_io_full_ratio", {}),
        ("disk.busy", "infer_opt_disk_busy_ratio", {}),
        ("disk[vda].read_bytes_per_second", "infer_opt_drive_read_bytes_per_second", {"device": "vda"}),
        ("filesystem[/data].free_bytes", "infer_opt_filesystem_free_bytes", {"mountpoint": "/data"}),
        ("network.errors_per_second", "infer_opt_network_errors_per_second", {}),
        ("network[eth0].errors_per_second", "infer_opt_interface_errors_per_second", {"device": "eth0"}),
        ("process.count", "infer_opt_processes", {}),
        ("process[0].count", "infer_opt_tree_processes", {"tree": "0"}),
        ("process.rss_bytes", "infer_opt_processes_rss_bytes", {}),
        ("process[0].rss_bytes", "infer_opt_tree_rss_bytes", {"tree": "0"}),
        ("gpu[0].power_watts", "infer_opt_gpu_power_watts", {"gpu": "0"}),
        ("gpu[0].energy_joules", "infer_opt_gpu_energy_joules_total", {"gpu": "0"}),
        ("gpu[0.mig1].memory_used_bytes", "infer_opt_mig_memory_used_bytes", {"gpu": "0", "mig": "1"}),
        ("gpu[0].throttle_reasons", "infer_opt_gpu_throttle_reasons", {"gpu": "0"}),
        ("cgroup[a].memory_bytes", "infer_opt_cgroup_part_memory_bytes", {"part": "a"}),
    ],
)
def test_names_follow_from_the_catalogue(key: str, exposed: str, labels: dict[str, str]) -> None:
    metric = metric_of(key)

    assert metric is not None
    assert (metric.exposed, dict(metric.labels)) == (exposed, labels)


def test_the_help_says_which_reading_it_is_and_its_definition() -> None:
    metric = metric_of("gpu[1].power_watts")

    assert metric is not None
    assert metric.help == f"gpu.power_watts: {CATALOGUE['gpu', 'power_watts'].definition}"
    assert metric.unit == "watts"


@pytest.mark.parametrize("key", ["memory", "memory.nothing", "Memory.total_bytes", "gpu[].power_watts", ""])
def test_what_the_catalogue_does_not_know_has_no_name(key: str) -> None:
    assert metric_of(key) is None


def test_no_two_readings_share_a_name_and_a_whole_never_has_the_name_of_its_parts() -> None:
    keys = [f"{family}{instance}.{name}" for family, name in CATALOGUE for instance in ("", "[0]", "[0.mig1]")
            if instance != "[0.mig1]" or family == "gpu"]  # fmt: skip
    metrics = [metric_of(key) for key in keys]

    names = [metric.exposed for metric in metrics if metric is not None]
    assert len(set(names)) == len(names) == len(keys)
    assert set(names) == reading_names() | {name for name in names if "_mig_" in name}


def test_counters_are_those_of_the_catalogue() -> None:
    for (family, name), quantity in CATALOGUE.items():
        metric = metric_of(f"{family}.{name}")
        assert metric is not None
        assert metric.exposed.endswith("_total") == quantity.is_counter
