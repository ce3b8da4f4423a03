"""Recipe in, artefact out: what can be done to a model file before a runtime opens it.

`apply.build` carries a recipe out, `cache.ArtefactCache` pays for each artefact once, `prospects` says what is worth
trying.
"""
