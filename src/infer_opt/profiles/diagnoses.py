"""Why a model is slow, as a profile holds it. Defined below `results`, since a tuning holds it too."""

from infer_opt.causes import Cause, Diagnosis

__all__ = ["Cause", "Diagnosis"]
