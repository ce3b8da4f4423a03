"""A sample in which everything that a monitor can read has a value."""

from dataclasses import replace

from infer_opt.readings.catalogue import CATALOGUE
from infer_opt.readings.samples import ProcessReading, Sample

# What is read of each of its kind, beside the whole where there is one.
INSTANCES = {
    "disk": ("vda", "nvme0n1"),
    "filesystem": ("/", "/data/my models"),
    "network": ("eth0", "ib0"),
    "process": ("0", "1"),
    "gpu": ("0", "1", "0.mig1"),
}
OF_EACH_CPU = ("busy", "frequency_hertz")
WITHOUT_A_WHOLE = ("filesystem", "gpu")


def full_sample(*, clock_s: float = 1000.0) -> Sample:
    """Two of everything, with values that all differ."""
    keys = [f"{family}.{name}" for family, name in CATALOGUE if family not in WITHOUT_A_WHOLE]
    keys += [f"cpu[{number}].{name}" for number in (0, 1) for name in OF_EACH_CPU]
    keys += [f"{family}[{instance}].{name}" for family, name in CATALOGUE for instance in INSTANCES.get(family, ())]
    return Sample(
        number=7,
        at_s=1_700_000_000.0,
        clock_s=clock_s,
        values={key: float(1 + index) for index, key in enumerate(keys)},
        processes=(process(), replace(process(), pid=71, name="worker"), ProcessReading(pid=1, name="init")),
    )


def process() -> ProcessReading:
    """A chosen process of which everything is known."""
    return ProcessReading(
        pid=70,
        name="python3",
        parent_pid=1,
        command="python3 serve.py --key=secret",
        user="me",
        state="S",
        started_s=1_699_999_000.0,
        cpu_cores=1.5,
        rss_bytes=3_000_000_000,
        threads=12,
        read_bytes_per_second=4096.0,
        written_bytes_per_second=512.0,
        gpu_memory_bytes=8_000_000_000,
        gpu_utilisation=0.4,
        is_chosen=True,
    )
