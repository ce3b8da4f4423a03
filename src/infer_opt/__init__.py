"""Finds the fastest way to run a neural network on the machine at hand, proves it, and hands back something to deploy.

`infer_opt.load(directory)` opens a bundle that `infer-opt tune` wrote.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infer_opt.bundle import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> object:
    # Loaded on first use: `infer-opt --help` must not import numpy.
    if name == "load":
        from infer_opt.bundle import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
