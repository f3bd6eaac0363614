"""Networks in int8: weights and feature maps of convolutions, calibrated on recordings."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from audiostride.export.plain import quiet

# The layers with most of the weights and multiplications. Resampling and normalisation stay in float32.
_QUANTISED = ["Conv", "Gemm"]
# What the names of the frontend's tables begin with, see `PlainClassifier`.
_FRONTEND = "classifier.frontend."


def quantise(model: Any, calibration: Sequence[Tensor]) -> Any:
    """Return a model whose convolutions and linear layers compute in int8.

    The frontend stays in float32: 8 bits cannot hold the range of a power spectrum.

    Args:
        model: a ModelProto by `audiostride.export.onnx`.
        calibration: batches of the model's input, from which the ranges of the feature maps are taken.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = ({model.graph.input[0].name: batch.numpy()} for batch in calibration)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    with TemporaryDirectory() as folder, quiet():
        file = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            file,
            Reader(),
            op_types_to_quantize=_QUANTISED,
            nodes_to_exclude=frontend_nodes(model),
            per_channel=True,
            # 7 bits of weights: without VNNI, 8 bits overflow in sums of two products.
            reduce_range=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return onnx.load(file)


def frontend_nodes(model: Any) -> list[str]:
    """Return the names of the nodes that take a table of the frontend, such as the basis of a transform."""
    return [node.name for node in model.graph.node if any(name.startswith(_FRONTEND) for name in node.input)]
