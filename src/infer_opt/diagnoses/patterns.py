"""Groups of executed nodes that one operator could do the work of, by what they are and what they read.

Names of nodes say nothing here: an exporter chooses them, and a renamed model would be another one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from infer_opt.diagnoses.wiring import Wiring, computed, constants, path

PRODUCTS = frozenset({"MatMul", "FusedMatMul", "TransposeMatMul", "Einsum"})
SOFTMAX = frozenset({"Softmax", "BiasSoftmax"})
# What may stand between the scores and their softmax, and between that and the product with the values.
AROUND_SCORES = frozenset({
    "Add", "Sub", "Mul", "Div", "Where", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Clip",
    "Max", "Min", "Expand", "IsNaN",
})  # fmt: skip
RESHAPING = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Identity", "Cast"})
SQUARES = frozenset({"Pow", "Mul"})
AFTER_VARIANCE = frozenset({"Add", "Sqrt", "Cast", "Max", "Clip", "Reciprocal", "Pow"})
TRANSCENDENTAL = frozenset({"Erf", "Tanh"})
ARGUMENT = frozenset({"Mul", "Div", "Add", "Pow", "Cast"})
FAR = 8  # nodes between the parts of one pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Nodes that belong together. `kept` are those whose work remains when they are fused, all others are saved."""

    nodes: tuple[int, ...]
    kept: tuple[int, ...]


def attentions(wiring: Wiring) -> Iterator[Pattern]:
    """A product of two activations, softmax, and a product of that with another activation.

    The transposes that bring queries, keys, values and the result into their order belong to it.
    """
    for index in range(len(wiring.nodes)):
        if wiring.operator(index) not in SOFTMAX:
            continue
        before = path(index, step=wiring.before, through=_is(wiring, AROUND_SCORES), to=_mixes(wiring), most=FAR)
        after = path(index, step=wiring.after, through=_is(wiring, AROUND_SCORES), to=_mixes(wiring), most=FAR)
        if not before or not after:
            continue
        products = (before[0], after[0])
        turned = [*_turned(wiring, before[0]), *_turned(wiring, after[0]), *_turned_after(wiring, after[0])]
        members = dict.fromkeys((*before, index, *after, *turned))
        yield Pattern(nodes=tuple(sorted(members)), kept=(index, *products))


def _mixes(wiring: Wiring) -> Callable[[int], bool]:
    """A product neither factor of which is a weight."""
    return lambda index: (
        wiring.operator(index) in PRODUCTS
        and len(computed(wiring.nodes[index])) >= 2
        and not constants(wiring.nodes[index])
    )


def _turned(wiring: Wiring, product: int) -> list[int]:
    """The transposes that a product reads from, through what only reshapes."""
    found = []
    for source in wiring.before(product):
        here = source
        while wiring.operator(here) in RESHAPING and wiring.before(here):
            here = wiring.before(here)[0]
        if wiring.operator(here) == "Transpose":
            found.append(here)
    return found


def _turned_after(wiring: Wiring, product: int) -> list[int]:
    return [reader for reader in wiring.after(product) if wiring.operator(reader) == "Transpose"]


def normalisations(wiring: Wiring) -> Iterator[Pattern]:
    """A mean of squares, its root, and a division by it: layer norm with its mean subtracted, or without (RMS)."""
    for square in range(len(wiring.nodes)):
        base = _squared(wiring, square)
        if base is None:
            continue
        for mean in wiring.after(square):
            if wiring.operator(mean) not in ("ReduceMean", "ReduceSumSquare"):
                continue
            scaled = path(
                mean, step=wiring.after, through=_is(wiring, AFTER_VARIANCE), to=_divides(wiring, base), most=FAR
            )
            if not scaled or not {"Sqrt", "Pow"} & {wiring.operator(index) for index in scaled[1:]}:
                continue
            members = [square, mean, *scaled, *_centred(wiring, base), *_scaled(wiring, scaled[0])]
            nodes = tuple(sorted(dict.fromkeys(members)))
            # One pass over the data remains: what dividing takes.
            yield Pattern(nodes=nodes, kept=(scaled[0],))


def _squared(wiring: Wiring, index: int) -> str | None:
    """The name of the tensor that this node squares; None where it does not."""
    node = wiring.nodes[index]
    reads = computed(node)
    if node.operator == "Pow" and reads and len(reads) == 1:
        return reads[0].name or None
    if node.operator == "Mul" and len(reads) == 2 and reads[0].name == reads[1].name:
        return reads[0].name or None
    return None


def _divides(wiring: Wiring, base: str) -> Callable[[int], bool]:
    return lambda index: wiring.operator(index) in ("Div", "Mul") and wiring.reads(index, base)


def _centred(wiring: Wiring, base: str) -> list[int]:
    """The subtraction of the mean, and the mean."""
    subtraction = wiring.writer.get(base)
    if subtraction is None or wiring.operator(subtraction) != "Sub":
        return []
    return [subtraction, *(index for index in wiring.before(subtraction) if wiring.operator(index) == "ReduceMean")]


def _scaled(wiring: Wiring, division: int) -> list[int]:
    """The multiplication and the addition of weights that follow."""
    found: list[int] = []
    here = division
    for operator in ("Mul", "Add"):
        followers = wiring.after(here)
        if len(followers) != 1 or wiring.operator(followers[0]) != operator:
            break
        if not constants(wiring.nodes[followers[0]]):
            break
        here = followers[0]
        found.append(here)
    return found


def gelus(wiring: Wiring) -> Iterator[Pattern]:
    """x · (1 + erf(x / √2)) / 2 spelled out, or the form with tanh: what scales x with a function of x itself."""
    for index in range(len(wiring.nodes)):
        if wiring.operator(index) not in TRANSCENDENTAL:
            continue
        plus_one = next((after for after in wiring.after(index) if _adds_weight(wiring, after)), None)
        if plus_one is None:
            continue
        before = _ancestors(wiring, index)
        reads = (tensor.name for member in before for tensor in computed(wiring.nodes[member]))
        sources = dict.fromkeys(name for name in reads if name)  # what has no name cannot be told apart
        for source in sources:
            closing = _closing(wiring, plus_one, source)
            if closing:
                argument = _between(wiring, source, before)
                members = dict.fromkeys((*argument, index, plus_one, *closing))
                yield Pattern(nodes=tuple(sorted(members)), kept=(index,))
                break


def _ancestors(wiring: Wiring, index: int) -> list[int]:
    """What works out the argument of a function, element by element, the nearest first."""
    found: list[int] = []
    edge = list(wiring.before(index))
    while edge and len(found) < FAR:
        here = edge.pop(0)
        if here not in found and wiring.operator(here) in ARGUMENT:
            found.append(here)
            edge += wiring.before(here)
    return found


def _between(wiring: Wiring, source: str, ancestors: Sequence[int]) -> list[int]:
    """Those of the ancestors that work with `source`, or with what such a one wrote."""
    names, found = {source}, []
    for index in sorted(ancestors):  # in the order of execution: writers come before readers
        if any(wiring.reads(index, name) for name in names):
            names |= {tensor.name for tensor in wiring.nodes[index].outputs}
            found.append(index)
    return found


def _closing(wiring: Wiring, plus_one: int, source: str) -> list[int]:
    """The products of 1 + f(x) with x and a half, in whichever order; [] where x is not among them."""
    found: list[int] = []
    here, has_source = plus_one, False
    for _ in range(3):
        here = next((after for after in wiring.after(here) if wiring.operator(after) in ("Mul", "Div")), -1)
        if here < 0:
            break
        halves = [
            before
            for before in wiring.before(here)
            if wiring.operator(before) in ("Mul", "Div") and wiring.reads(before, source) and before not in found
        ]
        joins = wiring.reads(here, source) or bool(halves)
        if not joins and not _is_by_number(wiring, here):
            break
        has_source = has_source or joins
        found += [*halves, here]
    return found if has_source else []


def _adds_weight(wiring: Wiring, index: int) -> bool:
    return wiring.operator(index) == "Add" and bool(constants(wiring.nodes[index]))


def _is_by_number(wiring: Wiring, index: int) -> bool:
    weights = constants(wiring.nodes[index])
    return bool(weights) and weights[0].elements == 1


def _is(wiring: Wiring, operators: frozenset[str]) -> Callable[[int], bool]:
    return lambda index: wiring.operator(index) in operators
