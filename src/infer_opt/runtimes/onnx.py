"""ONNX Runtime: the only module that opens its sessions."""

import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from infer_opt.config import Provider, SessionOptions, Spin
from infer_opt.errors import InferOptError, ModelError, UnavailableError
from infer_opt.facts import TensorSpec
from infer_opt.protocols import Array, Feeds, Session
from infer_opt.recipes import GraphLevel
from infer_opt.results import Placement
from infer_opt.runtimes import PROVIDER_NAMES
from infer_opt.runtimes.cuda_graphs import CudaGraphs
from infer_opt.runtimes.cuda_libraries import preload
from infer_opt.runtimes.faults import MOST_CHARACTERS, explained
from infer_opt.runtimes.profiles import median_times

EXTRAS = {Provider.CPU: "infer-opt[cpu]", Provider.CUDA: "infer-opt[gpu]"}
GRAPH_LEVELS = {
    GraphLevel.NONE: "ORT_DISABLE_ALL",
    GraphLevel.BASIC: "ORT_ENABLE_BASIC",
    GraphLevel.EXTENDED: "ORT_ENABLE_EXTENDED",
    GraphLevel.ALL: "ORT_ENABLE_ALL",
}
DTYPES = {
    "float": "float32",
    "double": "float64",
    "string": "str",
}


class OnnxRuntime:
    """Microsoft's ONNX Runtime, with its CPU and CUDA execution providers."""

    name = "onnx"

    @cached_property
    def _library(self) -> ModuleType:
        try:
            onnxruntime = import_module("onnxruntime")
        except ImportError as error:
            raise UnavailableError(
                f"ONNX Runtime is not installed or does not load ({error})",
                hint="pip install 'infer-opt[cpu]', or 'infer-opt[gpu]' for CUDA",
            ) from error
        if not hasattr(onnxruntime, "InferenceSession"):
            # Uninstalling one of two onnxruntime distributions leaves an empty package behind.
            raise UnavailableError(
                "the installed onnxruntime package is damaged: it has no InferenceSession",
                hint="pip uninstall onnxruntime onnxruntime-gpu, then install one of them again",
            )
        if PROVIDER_NAMES[Provider.CUDA] in onnxruntime.get_available_providers():
            preload(onnxruntime)
        return onnxruntime

    def version(self) -> str:
        """The installed library's version."""
        return str(self._library.__version__)

    def providers(self) -> frozenset[Provider]:
        """Where ONNX Runtime can run on this machine, now: each provider has opened a session of one node."""
        return frozenset(provider for provider in Provider if self.why_not(provider) is None)

    def why_not(self, provider: Provider) -> str | None:
        """One sentence that says why `provider` does not work here; None when it does."""
        try:
            if PROVIDER_NAMES[provider] not in self._library.get_available_providers():
                return f"the installed ONNX Runtime {self.version()} was built without {PROVIDER_NAMES[provider]}"
            if provider is not Provider.CPU:
                self._open(_one_node_model(), SessionOptions(provider=provider)).close()
        except InferOptError as error:
            return error.what
        return None

    def open(self, artefact: Path, options: SessionOptions) -> Session:
        """Load `artefact` as `options` say, or not at all."""
        if not artefact.is_file():
            raise ModelError(f"there is no model at {artefact}")
        return self._open(str(artefact), options)

    def node_times(
        self, artefact: Path, options: SessionOptions, feeds: Sequence[Feeds], *, runs: int
    ) -> dict[str, int]:
        """What each node of the graph takes as it is executed, fusions done, by its name: the median over runs, in ns.

        Raises:
            ModelError: the model cannot be opened or run.
        """
        with tempfile.TemporaryDirectory() as folder:
            session = self._open(str(artefact), options, profile=Path(folder) / "profile")
            for number in range(runs):
                session.run(feeds[number % len(feeds)])
            return median_times(session.end_profiling())

    def open_profiled(
        self, artefact: Path, options: SessionOptions, profile: Path, *, graph: Path | None = None
    ) -> "OnnxSession":
        """As `open`, with the runtime's profiler on: `end_profiling` gives its file, whose name begins as `profile`.

        With `graph`, the optimised graph is written there as well, its weights into `<graph>.data` beside it. A session
        that does so keeps its weights twice, so none that is timed does.
        """
        if not artefact.is_file():
            raise ModelError(f"there is no model at {artefact}")
        return self._open(str(artefact), options, profile=profile, graph=graph)

    def _open(
        self, model: str | bytes, options: SessionOptions, *, profile: Path | None = None, graph: Path | None = None
    ) -> "OnnxSession":
        library = self._library
        if options.bf16:
            raise UnavailableError("ONNX Runtime has no bfloat16 mode for float32 models", hint="leave bf16 out")
        if options.compiled is not None:
            raise UnavailableError("ONNX Runtime compiles no models", hint="leave compiled out")
        settings = _session_options(library, options)
        if profile is not None:
            settings.enable_profiling, settings.profile_file_prefix = True, str(profile)
        if graph is not None:
            settings.optimized_model_filepath = str(graph)
            settings.add_session_config_entry(
                "session.optimized_model_external_initializers_file_name", f"{graph.name}.data"
            )
        provider = PROVIDER_NAMES[options.provider]
        if provider not in library.get_available_providers():
            raise UnavailableError(
                f"the installed ONNX Runtime {self.version()} has no {provider}",
                hint=f"pip install '{EXTRAS[options.provider]}'",
            )
        providers: list[tuple[str, dict[str, str]]] = [(provider, _provider_options(options))]
        if options.provider is not Provider.CPU:
            # Shape arithmetic stays on the host; whatever else lands there is counted from the assignment record.
            providers.append((PROVIDER_NAMES[Provider.CPU], {}))
        try:
            # Without this a device that fails is told to standard output alone, and the CPU takes over.
            session = library.InferenceSession(model, settings, providers=providers, enable_fallback=0)
        except _failures(library) as error:
            raise explained(error, "ONNX Runtime cannot open the model") from error
        if provider not in session.get_providers():
            raise UnavailableError(
                f"ONNX Runtime could not load {provider}", hint="infer-opt doctor says which library is missing"
            )
        opened = OnnxSession(library, session, options)
        nodes = dict(opened.placement.nodes) if opened.placement is not None else {}
        if options.provider is not Provider.CPU and sum(nodes.values()) > 0 and not nodes.get(provider):
            opened.close()
            raise UnavailableError(
                f"{provider} took none of the model's {sum(nodes.values())} nodes", hint="choose --provider cpu"
            )
        return opened


class OnnxSession:
    """One `InferenceSession`. `run` may be called from several threads."""

    def __init__(self, library: ModuleType, session: Any, options: SessionOptions) -> None:
        self._library = library
        self._session = session
        self._failures = _failures(library)
        self.inputs = tuple(_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_spec(node) for node in session.get_outputs())
        self._names = [output.name for output in self.outputs]
        # Bound to this very session once: an attribute look-up less in every run.
        self._run = session.run
        self._lock = threading.Lock()
        self._graphs = CudaGraphs(library, session, self._names) if options.cuda_graph else None
        self._binding: Any = session.io_binding() if options.io_binding and self._graphs is None else None

    @property
    def placement(self) -> Placement | None:
        """Nodes a provider, from the runtime's own graph-assignment record."""
        record = getattr(self._session, "get_provider_graph_assignment_info", None)
        if record is None:
            return None
        try:
            counts = Counter({subgraph.ep_name: 0 for subgraph in record()})
            for subgraph in record():
                counts[subgraph.ep_name] += len(subgraph.get_nodes())
        except self._failures:
            return None
        return Placement(nodes=tuple(sorted(counts.items())))

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Host arrays in, host arrays out."""
        try:
            if self._graphs is not None:
                with self._lock:
                    return self._graphs.run(feeds)
            if self._binding is not None:
                with self._lock:
                    return self._run_bound(feeds)
            return dict(zip(self._names, self._run(None, feeds), strict=True))
        except self._failures as error:
            raise explained(error, "ONNX Runtime failed to run the model") from error

    def _run_bound(self, feeds: Feeds) -> dict[str, Array]:
        binding = self._binding
        binding.clear_binding_inputs()
        binding.clear_binding_outputs()
        for name, value in feeds.items():
            binding.bind_cpu_input(name, value)
        for name in self._names:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        return dict(zip(self._names, binding.copy_outputs_to_cpu(), strict=True))

    def end_profiling(self) -> Path:
        """The file of a session that was opened to be profiled."""
        return Path(self._session.end_profiling())

    def close(self) -> None:
        """Give back the session. Safe to call twice."""
        self._session = self._run = self._binding = self._graphs = None


def _session_options(library: ModuleType, options: SessionOptions) -> Any:
    settings = library.SessionOptions()
    # 3 = errors only: warnings of a trial are counted as readings, not printed over the progress bar.
    settings.log_severity_level = 3
    settings.intra_op_num_threads = options.intra_threads
    settings.inter_op_num_threads = options.inter_threads
    settings.enable_mem_pattern = options.memory_pattern
    settings.enable_cpu_mem_arena = options.arena
    if options.parallel:
        settings.execution_mode = library.ExecutionMode.ORT_PARALLEL
    if options.graph_level is not None:
        settings.graph_optimization_level = getattr(library.GraphOptimizationLevel, GRAPH_LEVELS[options.graph_level])
    entries = {"session.record_ep_graph_assignment_info": "1"}
    if options.spin is not None:
        spins = "0" if options.spin is Spin.NEVER else "1"
        entries |= {"session.intra_op.allow_spinning": spins, "session.inter_op.allow_spinning": spins}
        entries |= {"session.force_spinning_stop": "1"} if options.spin is Spin.RUNS else {}
    if options.flush_denormals:
        entries["session.set_denormal_as_zero"] = "1"
    for key, value in entries.items():
        settings.add_session_config_entry(key, value)
    for path in options.custom_ops:
        try:
            settings.register_custom_ops_library(path)
        except _failures(library) as error:
            what = " ".join(str(error).split())[:MOST_CHARACTERS]
            raise UnavailableError(f"the custom-operator library {path} does not load: {what}") from error
    return settings


def _provider_options(options: SessionOptions) -> dict[str, str]:
    if options.provider is not Provider.CUDA:
        return {}
    settings = {"device_id": "0"}
    if options.cudnn_search is not None:
        settings["cudnn_conv_algo_search"] = options.cudnn_search.upper()  # ONNX Runtime refuses what it does not know
    if options.arena_bytes:
        settings["gpu_mem_limit"] = str(options.arena_bytes)
    if options.exact_arena:
        settings["arena_extend_strategy"] = "kSameAsRequested"
    flags = {"use_tf32": options.tf32, "prefer_nhwc": options.nhwc, "enable_cuda_graph": options.cuda_graph or None}
    return settings | {name: str(int(value)) for name, value in flags.items() if value is not None}


def _failures(library: ModuleType) -> tuple[type[Exception], ...]:
    """Every exception class that a session raises: ONNX Runtime has one per status code and no common base."""
    members = vars(library.capi.onnxruntime_pybind11_state).values()
    found = (member for member in members if isinstance(member, type) and issubclass(member, Exception))
    return (*found, RuntimeError, ValueError, TypeError)


def _spec(node: Any) -> TensorSpec:
    kind = str(node.type).removeprefix("tensor(").removesuffix(")")
    shape = tuple(dim if isinstance(dim, int | str) else None for dim in node.shape) if node.shape is not None else None
    return TensorSpec(name=node.name, dtype=DTYPES.get(kind, kind), shape=shape)


def _one_node_model() -> bytes:
    """`y = Relu(x)` over two floats: the smallest graph that a provider must take."""
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "probe", [x], [y])
    opset = [helper.make_opsetid("", 13)]
    model: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return model
