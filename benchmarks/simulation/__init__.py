"""infer-opt's rules, and those of others, on simulated noise: the seeded part of the proof."""

from benchmarks.simulation.proof import evidence

__all__ = ["evidence"]
