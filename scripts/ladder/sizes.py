"""The sizes of the ladder's networks, whole and in miniature."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetSize:
    """Bottleneck stages: `widths` are the inner channels, `blocks` how many of them. Source: He et al. 2016."""

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    pixels: int = 224
    classes: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class BertSize:
    """An encoder of Hugging Face's BertModel, called with `length` tokens."""

    layers: int
    hidden: int
    heads: int
    vocabulary: int = 30522
    positions: int = 512
    length: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class VitSize:
    """A vision transformer, pre-norm, with a class token. The default is ViT-B/16. Source: Dosovitskiy et al. 2021."""

    layers: int = 12
    hidden: int = 768
    heads: int = 12
    patch: int = 16
    pixels: int = 224
    classes: int = 1000

    @property
    def patches(self) -> int:
        """Tokens an image is cut into."""
        return (self.pixels // self.patch) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LstmSize:
    """Stacked LSTM layers over `length` steps, and a linear layer on the last state."""

    inputs: int = 128
    hidden: int = 512
    layers: int = 2
    length: int = 64
    classes: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySize:
    """A multilayer perceptron that turns an observation into actions."""

    inputs: int = 64
    hidden: tuple[int, ...] = (256, 256)
    actions: int = 8


Size = ResNetSize | BertSize | VitSize | LstmSize | PolicySize

RESNET50, TINY_RESNET = ResNetSize(), ResNetSize(widths=(4, 8), blocks=(1, 1), pixels=32, classes=10)
MINILM, TINY_MINILM = BertSize(layers=6, hidden=384, heads=12), BertSize(
    layers=1, hidden=16, heads=2, vocabulary=50, positions=16, length=8
)  # fmt: skip
BERT_BASE, TINY_BERT = BertSize(layers=12, hidden=768, heads=12), BertSize(
    layers=2, hidden=16, heads=2, vocabulary=50, positions=16, length=8
)  # fmt: skip
VIT, TINY_VIT = VitSize(), VitSize(layers=1, hidden=16, heads=2, patch=8, pixels=16, classes=10)
LSTM, TINY_LSTM = LstmSize(), LstmSize(inputs=4, hidden=8, layers=2, length=6, classes=3)
POLICY, TINY_POLICY = PolicySize(), PolicySize(inputs=6, hidden=(16, 16), actions=3)
