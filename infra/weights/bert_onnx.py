"""The weights of a BERT out of an ONNX file that onnxruntime's dynamic quantisation wrote, as
float32 under their names in torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Float32 = NDArray[np.float32]
_NORMS_AND_BIASES = ("LayerNorm.weight", ".bias")


def read_weights(model: bytes) -> dict[str, Float32]:
    """Every weight of the model. What was stored in 8 bits is (code - zero point) * scale: as near
    to the original as the file still says.

    Products hold their matrix as (in, out); torch holds it as (out, in).
    """
    graph = onnx.load_model_from_string(model).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {n: array for n, array in stored.items() if n.endswith(_NORMS_AND_BIASES)}
    users = {name: node for node in graph.node for name in node.input}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            name = node.input[1].removesuffix("_scale")
            weights[name] = _dequantised(stored, name)
        elif node.op_type == "MatMulInteger":
            layer = _bias_after(node, users).removesuffix(".bias")
            matrix = _dequantised(stored, node.input[1].removesuffix("_quantized"))
            weights[f"{layer}.weight"] = np.ascontiguousarray(matrix.T)
    return weights


def _dequantised(stored: dict[str, NDArray[Any]], name: str) -> Float32:
    codes, zero = stored[f"{name}_quantized"], stored[f"{name}_zero_point"]
    centred = codes.astype(np.float32) - zero.astype(np.float32)
    return np.asarray(centred * stored[f"{name}_scale"].astype(np.float32))


def _bias_after(product: onnx.NodeProto, users: dict[str, onnx.NodeProto]) -> str:
    """The name of the bias that is added to a product, which tells whose product it is: a matrix
    itself mostly has a number for a name.
    """
    node = users[product.output[0]]
    while node.op_type != "Add":
        node = users[node.output[0]]
    return str(next(name for name in node.input if name.endswith(".bias")))
