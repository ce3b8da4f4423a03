"""What a model is fed with: the user's own inputs or made-up ones, their sizes, and their way to another process.

The one module to import from; each part has a module of its own.
"""

from infer_opt.models.axes import fixed_batch
from infer_opt.models.dims import check_dims, resolve_dims
from infer_opt.models.distributions import resolve_shapes, sort_samples, synthesise_shapes
from infer_opt.models.feeds import load_feeds, save_feeds
from infer_opt.models.loading import load_samples
from infer_opt.models.samples import Samples
from infer_opt.models.synthesis import synthesise

__all__ = [
    "Samples",
    "check_dims",
    "fixed_batch",
    "load_feeds",
    "load_samples",
    "resolve_dims",
    "resolve_shapes",
    "save_feeds",
    "sort_samples",
    "synthesise",
    "synthesise_shapes",
]
