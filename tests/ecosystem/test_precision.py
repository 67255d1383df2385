"""bfloat16 and int8 on real images: how far from float32 a trained network gets with fewer bits.

onnxruntime quantises every convolution and the classifier, statically (ranges of the activations from training images)
or dynamically (from the batch at hand). torchao's dynamic quantisation reaches the classifier alone, as it knows linear
layers only.
"""

import copy
from collections import Counter
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from timm.utils import accuracy, reparameterize_model
from torch import nn

from .networks import load_digits, train_on_digits
from .test_export import export_onnx

# points of top-1 on the 1,297 held-out digits, of which one is 0.08 points
BFLOAT16_WITHIN = 0.5
INT8_WITHIN = 1.0


class Digits(NamedTuple):
    model: nn.Module  # fused
    train: torch.Tensor
    inputs: torch.Tensor
    targets: torch.Tensor

    def top1(self, logits) -> float:
        return accuracy(torch.as_tensor(logits), self.targets)[0].item()

    def float32(self) -> torch.Tensor:
        with torch.no_grad():
            return self.model(self.inputs)


@pytest.fixture(scope='module')
def trained_well(digits) -> Digits:
    model = reparameterize_model(train_on_digits(digits, epochs=30))
    result = Digits(model, load_digits(digits, 'train')[0], *load_digits(digits, 'validation'))
    assert result.top1(result.float32()) > 96
    return result


class Batches(CalibrationDataReader):
    """Training images, from which the ranges of the activations are taken."""

    def __init__(self, inputs: torch.Tensor) -> None:
        self.batches = iter(inputs.split(50))

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {'images': batch.numpy()}


def run_onnx(path, inputs):
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return np.concatenate([session.run(['logits'], {'images': x.numpy()})[0] for x in inputs.split(100)])


def operators(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.slow
@pytest.mark.parametrize('how', ['autocast', 'weights'])
def test_bfloat16(how, trained_well):
    float32 = trained_well.float32()
    with torch.no_grad():
        if how == 'autocast':
            with torch.autocast('cpu', torch.bfloat16):
                logits = trained_well.model(trained_well.inputs)
        else:
            model = reparameterize_model(trained_well.model).bfloat16()  # of a copy
            logits = model(trained_well.inputs.bfloat16())
    assert logits.dtype == torch.bfloat16
    assert not torch.equal(logits.float(), float32)
    top1 = trained_well.top1(logits.float())
    print(f'top-1 {how}: {top1:.2f} %, float32: {trained_well.top1(float32):.2f} %')
    assert top1 == pytest.approx(trained_well.top1(float32), abs=BFLOAT16_WITHIN)


@pytest.mark.slow
@pytest.mark.parametrize('how', ['static', 'dynamic'])
def test_int8(how, trained_well, tmp_path):
    paths = float32, prepared, int8 = [tmp_path / f'{name}.onnx' for name in ('float32', 'prepared', 'int8')]
    export_onnx(trained_well.model, float32, trained_well.inputs[:2])
    quant_pre_process(float32, prepared)
    weights = dict(per_channel=True, weight_type=QuantType.QInt8)
    if how == 'static':
        quantize_static(prepared, int8, Batches(trained_well.train), **weights)
    else:
        quantize_dynamic(prepared, int8, **weights)
    graph = onnx.load(int8).graph
    names = {weight.name for weight in graph.initializer if weight.data_type == onnx.TensorProto.INT8}
    assert len(names) >= operators(float32)['Conv'] + 1  # every convolution and the classifier, if not more
    if how == 'dynamic':
        assert operators(int8)['ConvInteger'] == operators(float32)['Conv']
        assert not operators(int8)['Conv']
    assert int8.stat().st_size < 0.5 * float32.stat().st_size
    expected, *_, logits = (run_onnx(path, trained_well.inputs) for path in paths)
    np.testing.assert_allclose(expected, trained_well.float32().numpy(), atol=1e-3)
    assert np.abs(logits - expected).max() > 1e-3
    top1 = trained_well.top1(logits)
    print(f'top-1 {how}: {top1:.2f} %, float32: {trained_well.top1(expected):.2f} %')
    assert top1 == pytest.approx(trained_well.top1(expected), abs=INT8_WITHIN)


@pytest.mark.slow
def test_int8_by_torchao(trained_well):
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_  # seconds, so not at the top

    model = copy.deepcopy(trained_well.model)
    quantize_(model, Int8DynamicActivationInt8WeightConfig())
    assert [name for name, p in model.named_parameters() if type(p).__module__.startswith('torchao')] == ['fc.weight']
    with torch.no_grad():
        logits = model(trained_well.inputs)
    float32 = trained_well.float32()
    assert not torch.equal(logits, float32)
    print(f'top-1 torchao: {trained_well.top1(logits):.2f} %, float32: {trained_well.top1(float32):.2f} %')
    assert trained_well.top1(logits) == pytest.approx(trained_well.top1(float32), abs=INT8_WITHIN)
