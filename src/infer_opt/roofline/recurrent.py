"""Recurrent layers: at each step, the products of its input and of its state with all gates, then the gates."""

from collections.abc import Callable

from infer_opt.profiles.nodes import Node
from infer_opt.profiles.roofline import Work
from infer_opt.roofline.asking import given, optional, size, work

LENGTHS = 4  # the input that ends sequences early

# Operations a unit and step beside the two products: sums of products and biases, activations (sigmoid is four, tanh
# one), and what makes up the state.
BESIDE = {"LSTM": 4 * 3 + 3 * 4 + 2 + 4, "GRU": 3 * 3 + 2 * 4 + 1 + 5, "RNN": 3 + 1}


def _recurrent(gates: str, precision: str | None = None) -> Callable[[Node], Work]:
    """A counter; its weights hold all directions and gates, so that each is used once a step and sequence."""

    def counter(node: Node) -> Work:
        inputs, weights, recurrences = given(node, 0), given(node, 1), given(node, 2)
        steps = size(inputs, 0) * size(inputs, 1)  # steps and sequences, in either layout
        hidden = min(recurrences.shape[1:], default=0) if len(recurrences.shape) == 3 else 0
        units = size(recurrences, 0) * hidden
        operations = steps * (2 * (weights.elements + recurrences.elements) + BESIDE[gates] * units)
        return work(node, operations, precision=precision, is_exact=optional(node, LENGTHS) is None)

    return counter


RECURRENT: dict[str, Callable[[Node], Work | None]] = {
    "LSTM": _recurrent("LSTM"),
    "GRU": _recurrent("GRU"),
    "RNN": _recurrent("RNN"),
    "com.microsoft.DynamicQuantizeLSTM": _recurrent("LSTM", "int8"),
}
