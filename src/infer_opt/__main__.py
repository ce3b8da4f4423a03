"""`python -m infer_opt` is `infer-opt`."""

from infer_opt.cli import main

main()
