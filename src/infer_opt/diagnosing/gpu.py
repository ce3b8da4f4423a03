"""What about the NVIDIA driver and the GPUs themselves would spoil a measurement, or make one impossible."""

from collections.abc import Callable

from infer_opt.diagnosing.seen import GIB, Seen, caution, ok, problem
from infer_opt.machine.cuda import WSL_LIBRARIES
from infer_opt.monitors.nvml_modes import ComputeMode
from infer_opt.results import Finding

CUDA_PROVIDER = "CUDAExecutionProvider"
# CUDA's major version -> the first driver that runs any build for it ("minor version compatibility"). Source: CUDA
# Toolkit release notes, "CUDA Toolkit and Minimum Required Driver Version".
OLDEST_DRIVERS = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
HIDDEN = ("", "-1", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES that leave no GPU
NOT_GIVEN = ("", "none", "void")  # values of NVIDIA_VISIBLE_DEVICES with which a container gets none
GPU_WORDS = {None: "the driver does not list processes", 0: "no other process computes on the GPU"}
FOR_CPU = "; or install 'infer-opt[cpu]' instead"

Answer = tuple[str, str]  # what was seen, and what to do


def needs_gpu(seen: Seen) -> bool:
    """Whether the ONNX Runtime that is imported was built for NVIDIA GPUs."""
    return CUDA_PROVIDER in seen.runtime.providers or "onnxruntime-gpu" in dict(seen.packages)


def check_driver(seen: Seen) -> Finding:
    """Whether a build for NVIDIA GPUs has a driver that is new enough."""
    if seen.nvml_problem is not None:
        return _silent(seen, seen.nvml_problem)
    built_for, driver = seen.runtime.cuda_version, seen.driver_cuda
    names = ", ".join(f"{gpu.name} ({gpu.memory_bytes / GIB:.0f} GiB)" for gpu in seen.machine.gpus)
    version = seen.machine.gpus[0].driver if seen.machine.gpus else "unknown"
    # Within a major version, older drivers run newer builds ("minor version compatibility").
    if driver is not None and built_for is not None and driver[0] < int(built_for.split(".")[0]):
        oldest = OLDEST_DRIVERS.get(int(built_for.split(".")[0]))
        return problem(
            "NVIDIA driver",
            f"driver {version} runs CUDA up to {driver[0]}.{driver[1]}, ONNX Runtime was built for CUDA {built_for}",
            f"update the driver{f' to {oldest} or newer' if oldest else ''}, "
            f"or install an onnxruntime-gpu built for CUDA {driver[0]}",
        )
    return ok("NVIDIA driver", f"{version}; {names or 'no GPU gave its name'}")


def _silent(seen: Seen, reason: str) -> Finding:
    """Why the driver does not answer, as far as its traces say."""
    states = (_bindings, _mismatch, _taken_away, _not_given, _wsl, _closed, _not_loaded)
    found = next((answer for state in states if (answer := state(seen, reason)) is not None), None)
    is_there = bool(seen.cuda.devices or seen.cuda.pci_gpus or seen.cuda.kernel_driver)
    if needs_gpu(seen):
        what, action = found or (reason, "install the driver; in a container start with `--gpus all`")
        return problem("NVIDIA driver", f"onnxruntime-gpu is installed, but {what}", action + FOR_CPU)
    if found is not None and is_there and not seen.cuda.in_container:
        return caution("NVIDIA driver", found[0], found[1])
    return ok("NVIDIA driver", "none, and nothing installed here needs one")


def _bindings(seen: Seen, reason: str) -> Answer | None:
    return (reason, "pip install nvidia-ml-py") if "bindings" in reason else None


def _mismatch(seen: Seen, reason: str) -> Answer | None:
    """After an update of the driver's packages, the old kernel module goes on until it is unloaded."""
    if "mismatch" not in reason.lower():
        return None
    loaded = seen.cuda.kernel_driver
    version = f", which is {loaded}" if loaded else ""
    return (
        f"the driver's libraries are of another version than its loaded kernel module{version} ({reason})",
        "restart the machine; or end what uses the GPU, `sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia`, then "
        "`sudo modprobe nvidia`",
    )


def _taken_away(seen: Seen, reason: str) -> Answer | None:
    """`systemctl daemon-reload` on the host takes a running container's devices from it."""
    if "unknown error" not in reason.lower() or not seen.cuda.in_container:
        return None
    return (
        f"this container lost its GPUs while it ran ({reason})",
        "start the container again; it keeps them with `--device /dev/nvidia0 --device /dev/nvidiactl "
        "--device /dev/nvidia-uvm`",
    )


def _not_given(seen: Seen, reason: str) -> Answer | None:
    cuda = seen.cuda
    if not cuda.in_container or cuda.devices:
        return None
    told = ""
    if cuda.given_devices is not None and cuda.given_devices in NOT_GIVEN:
        told = f" (NVIDIA_VISIBLE_DEVICES is {cuda.given_devices!r})"
    elif cuda.given_devices is not None:
        told = f" (NVIDIA_VISIBLE_DEVICES={cuda.given_devices} asks for them, but NVIDIA's runtime did not start it)"
    host = f", though its host has driver {cuda.kernel_driver}" if cuda.kernel_driver else ""
    return (
        f"this container was given no GPU{told}{host} ({reason})",
        "start it with `docker run --gpus all` (podman: `--device nvidia.com/gpu=all`; Kubernetes: a limit of "
        "`nvidia.com/gpu: 1`), with NVIDIA's container toolkit on the host",
    )


def _wsl(seen: Seen, reason: str) -> Answer | None:
    cuda = seen.cuda
    if not cuda.is_wsl:
        return None
    if not cuda.has_dxg:
        return (
            f"WSL shows no GPU: there is no /dev/dxg ({reason})",
            "install NVIDIA's driver for Windows, none inside of WSL; then `wsl --update` and `wsl --shutdown`",
        )
    return (
        f"WSL has the GPU, but its driver libraries are not found ({reason})",
        f"export LD_LIBRARY_PATH=/{WSL_LIBRARIES}:$LD_LIBRARY_PATH; install no Linux driver inside of WSL",
    )


def _closed(seen: Seen, reason: str) -> Answer | None:
    if not seen.cuda.closed and "permission" not in reason.lower():
        return None
    nodes = ", ".join(seen.cuda.closed) or "the GPU"
    return f"this user may not open {nodes} ({reason})", "sudo usermod -aG video,render $USER, then log in again"


def _not_loaded(seen: Seen, reason: str) -> Answer | None:
    count = seen.cuda.pci_gpus
    if not count or seen.cuda.kernel_driver is not None:
        return None
    return (
        f"{count} NVIDIA GPU{'s are' * (count > 1) or ' is'} on the PCI bus, and no driver is loaded ({reason})",
        "install NVIDIA's driver, or `sudo modprobe nvidia`; `dmesg | grep -i nvidia` says why it does not load "
        "(Secure Boot, nouveau)",
    )


def check_devices(seen: Seen) -> Finding:
    """Whether the GPUs that are there can be seen by this process."""
    visible, count = seen.cuda.visible_devices, len(seen.machine.gpus)
    if not count:
        return ok("GPU devices", "no NVIDIA GPU")
    if seen.cuda.closed:
        return problem(
            "GPU devices",
            f"this user may not open {', '.join(seen.cuda.closed)}",
            "sudo usermod -aG video,render $USER, then log in again",
        )
    if visible is None:
        return ok("GPU devices", f"{count} {'GPUs, all' * (count > 1) or 'GPU,'} visible to this process")
    if visible.strip() in HIDDEN:
        return problem("GPU devices", f"CUDA_VISIBLE_DEVICES={visible!r} hides every GPU", "unset CUDA_VISIBLE_DEVICES")
    # What comes after a number that is not here is hidden as well; names (GPU-..., MIG-...) are not judged.
    wrong = [part for part in visible.split(",") if part.strip().isdigit() and int(part) >= count]
    if wrong:
        return problem(
            "GPU devices",
            f"CUDA_VISIBLE_DEVICES={visible} names GPU {wrong[0].strip()}, where there {_are(count)}",
            "`nvidia-smi -L` lists them; the first is 0",
        )
    return ok("GPU devices", f"CUDA_VISIBLE_DEVICES={visible}")


def _are(count: int) -> str:
    return "is one GPU" if count == 1 else f"are {count} GPUs"


def check_compute_mode(seen: Seen) -> Finding:
    """Whether several processes may use a GPU at once, as comparisons do: every configuration lives in its own."""
    modes: dict[ComputeMode, Callable[[str], Answer]] = {
        ComputeMode.NOBODY: lambda gpu: (f"{gpu} is set to compute for nobody (Prohibited)", "no process can use it"),
        ComputeMode.ONE_PROCESS: lambda gpu: (
            f"{gpu} is in exclusive mode: it takes one process at a time (Exclusive_Process)",
            "stock and every trial have a process each, so the second one is refused (CUDA failure 46)",
        ),
    }
    for mode, words in modes.items():
        indices = [str(one.index) for one in seen.gpu_modes if one.compute is mode]
        if indices:
            what, why = words(f"GPU {', '.join(indices)}")
            action = f"sudo nvidia-smi -i {','.join(indices)} --compute-mode=DEFAULT"
            return problem("GPU compute mode", f"{what}; {why}", action)
    known = any(one.compute is ComputeMode.SHARED for one in seen.gpu_modes)
    none = "no NVIDIA GPU" if not seen.machine.gpus else "not readable"
    return ok("GPU compute mode", "shared: several processes may compute" if known else none)


def check_mig(seen: Seen) -> Finding:
    """Whether a GPU is divided: CUDA then sees an instance, or nothing at all."""
    empty = [str(one.index) for one in seen.gpu_modes if one.is_divided and not one.instances]
    if empty:
        return problem(
            "MIG",
            f"GPU {', '.join(empty)} is in MIG mode and has no instance, so CUDA finds no device there",
            f"make one: `sudo nvidia-smi mig -i {','.join(empty)} -cgi 0 -C` (`-lgip` lists the sizes); or leave the "
            f"mode: `sudo nvidia-smi -i {','.join(empty)} -mig 0`",
        )
    divided = [one for one in seen.gpu_modes if one.is_divided]
    if not divided:
        return ok("MIG", "no NVIDIA GPU" if not seen.machine.gpus else "no GPU is divided")
    parts = ", ".join(f"GPU {one.index} into {one.instances}" for one in divided)
    return caution(
        "MIG",
        f"divided: {parts}. CUDA uses one instance a process; clocks, power and heat are the whole GPU's",
        "fine where the deployment runs on an instance too; choose it with CUDA_VISIBLE_DEVICES=MIG-... "
        "(`nvidia-smi -L`)",
    )


def check_sharing(seen: Seen) -> Finding:
    """Whether other processes compute on the GPUs."""
    count = seen.gpu_processes
    if not count:
        return ok("GPU sharing", "no NVIDIA GPU" if not seen.machine.gpus else GPU_WORDS[count])
    return problem(
        "GPU sharing",
        f"{count} other process{'es' * (count > 1)} computing on the GPU",
        "stop them (see `nvidia-smi`), or choose another device with CUDA_VISIBLE_DEVICES",
    )
