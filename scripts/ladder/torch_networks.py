# mypy: disable-error-code="misc"
"""The ladder's networks as PyTorch modules, written as PyTorch's users write them. Loaded in processes of their own."""

from collections.abc import Mapping
from typing import Any

import torch
from scripts.ladder.onnx_networks import BERT_EPSILON, EPSILON
from scripts.ladder.sizes import BertSize, LstmSize, PolicySize, ResNetSize, Size, VitSize
from scripts.ladder.weights import EXPANSION, STEM, Weights, bottlenecks
from torch import nn
from torch.nn import functional

Tensors = dict[str, Any]
UNUSED = "num_batches_tracked"  # a counter of training's that batch norms keep


def built(size: Size, weights: Weights) -> Any:
    """The module with those weights, in evaluation mode.

    Raises:
        KeyError: a weight has no place, or a place no weight.
    """
    kinds: Mapping[type, type] = {ResNetSize: ResNet, BertSize: Bert, VitSize: Vit, LstmSize: Lstm, PolicySize: Policy}
    module = kinds[type(size)](size)
    found = module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()}, strict=False)
    missing = [name for name in found.missing_keys if not name.endswith(UNUSED)]
    if missing or found.unexpected_keys:
        raise KeyError(f"weights do not fit: {missing} are missing, {found.unexpected_keys} have no place")
    return module.eval()


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, has_convolution: bool) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        shortcut = [nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)]
        self.downsample = nn.Sequential(*shortcut) if has_convolution else None

    def forward(self, x: Any) -> Any:
        inner = functional.relu(self.bn1(self.conv1(x)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        inner = self.bn3(self.conv3(inner))
        return functional.relu(inner + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """As torchvision writes it."""

    def __init__(self, size: ResNetSize) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, STEM, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(STEM)
        stages: dict[str, list[nn.Module]] = {}
        for prefix, inputs, width, stride, has_convolution in bottlenecks(size):
            stages.setdefault(prefix.partition(".")[0], []).append(Bottleneck(inputs, width, stride, has_convolution))
        for name, blocks in stages.items():
            setattr(self, name, nn.Sequential(*blocks))
        self._stages = tuple(stages)
        self.fc = nn.Linear(size.widths[-1] * EXPANSION, size.classes)

    def forward(self, image: Any) -> Tensors:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(image))), 3, stride=2, padding=1)
        for name in self._stages:
            x = getattr(self, name)(x)
        return {"logits": self.fc(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))}


def _attended(query: Any, key: Any, value: Any, heads: int, mask: Any = None) -> Any:
    """Scaled dot-product attention of (batch, tokens, hidden) tensors."""

    def split(x: Any) -> Any:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    mixed = functional.scaled_dot_product_attention(split(query), split(key), split(value), attn_mask=mask)
    return mixed.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """The three projections of a BERT layer."""

    def __init__(self, size: BertSize) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(size.hidden, size.hidden) for _ in range(3))
        self._heads = size.heads

    def forward(self, x: Any, mask: Any) -> Any:
        return _attended(self.query(x), self.key(x), self.value(x), self._heads, mask)


class AddNorm(nn.Module):
    """A linear layer whose result joins what was there before."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(inputs, outputs), nn.LayerNorm(outputs, eps=BERT_EPSILON)

    def forward(self, x: Any, before: Any) -> Any:
        return self.LayerNorm(self.dense(x) + before)


class BertLayer(nn.Module):
    """Attention, then two linear layers."""

    def __init__(self, size: BertSize) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": SelfAttention(size), "output": AddNorm(size.hidden, size.hidden)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(size.hidden, EXPANSION * size.hidden)})
        self.output = AddNorm(EXPANSION * size.hidden, size.hidden)

    def forward(self, x: Any, mask: Any) -> Any:
        x = self.attention["output"](self.attention["self"](x, mask), x)
        return self.output(functional.gelu(self.intermediate["dense"](x)), x)


class BertEmbeddings(nn.Module):
    """Words, positions and kinds of token."""

    def __init__(self, size: BertSize) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(size.vocabulary, size.hidden)
        self.position_embeddings = nn.Embedding(size.positions, size.hidden)
        self.token_type_embeddings = nn.Embedding(2, size.hidden)
        self.LayerNorm = nn.LayerNorm(size.hidden, eps=BERT_EPSILON)
        self.register_buffer("position_ids", torch.arange(size.positions)[None])

    def forward(self, ids: Any, kinds: Any) -> Any:
        positions = self.position_embeddings(self.position_ids[:, : ids.shape[1]])
        return self.LayerNorm(self.word_embeddings(ids) + self.token_type_embeddings(kinds) + positions)


class Bert(nn.Module):
    """An encoder, as Hugging Face names it, with the mean over tokens that count as the sentence's embedding."""

    def __init__(self, size: BertSize) -> None:
        super().__init__()
        self.embeddings = BertEmbeddings(size)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(BertLayer(size) for _ in range(size.layers))})

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Tensors:
        x = self.embeddings(input_ids, token_type_ids)
        mask = (1.0 - attention_mask[:, None, None].to(x.dtype)) * -10000.0
        for layer in self.encoder["layer"]:
            x = layer(x, mask)
        kept = attention_mask[:, :, None].to(x.dtype)
        mean = (x * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
        return {"last_hidden_state": x, "sentence_embedding": functional.normalize(mean)}


class VitLayer(nn.Module):
    """Attention and two linear layers, each normed before."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(size.hidden, eps=EPSILON) for _ in range(2))
        self.query, self.key, self.value, self.joined = (nn.Linear(size.hidden, size.hidden) for _ in range(4))
        self.inner = nn.Linear(size.hidden, EXPANSION * size.hidden)
        self.outer = nn.Linear(EXPANSION * size.hidden, size.hidden)
        self._heads = size.heads

    def forward(self, x: Any) -> Any:
        y = self.norm1(x)
        x = x + self.joined(_attended(self.query(y), self.key(y), self.value(y), self._heads))
        return x + self.outer(functional.gelu(self.inner(self.norm2(x))))


class Vit(nn.Module):
    """A vision transformer with a class token."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, size.hidden, size.patch, stride=size.patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, size.hidden))
        self.positions = nn.Parameter(torch.zeros(1, size.patches + 1, size.hidden))
        self.layers = nn.Sequential(*(VitLayer(size) for _ in range(size.layers)))
        self.norm, self.head = nn.LayerNorm(size.hidden, eps=EPSILON), nn.Linear(size.hidden, size.classes)

    def forward(self, image: Any) -> Tensors:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return {"logits": self.head(self.norm(self.layers(x))[:, 0])}


class Lstm(nn.Module):
    """Stacked layers and a linear one on the last state."""

    def __init__(self, size: LstmSize) -> None:
        super().__init__()
        self.lstm = nn.LSTM(size.inputs, size.hidden, size.layers, batch_first=True)
        self.head = nn.Linear(size.hidden, size.classes)

    def forward(self, sequence: Any) -> Tensors:
        states, _ = self.lstm(sequence)
        return {"scores": self.head(states[:, -1])}


class Policy(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, size: PolicySize) -> None:
        super().__init__()
        widths = (size.inputs, *size.hidden, size.actions)
        layers: list[nn.Module] = []
        for index in range(len(widths) - 1):
            layers += [nn.Linear(widths[index], widths[index + 1]), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, observation: Any) -> Tensors:
        return {"actions": self.layers(observation)}
