"""The networks leave Python: torch.compile, torch.export, ONNX and TorchScript, fused and not, saved and loaded."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from timm.utils import reparameterize_model
from torch import nn

from .networks import NUM_CLASSES, SMALL, images, seen

NAMES = [SMALL, pytest.param('dsk_resnext26_32x4d', marks=pytest.mark.slow)]


@pytest.fixture(params=['plain', 'fused'])
def fuse(request):
    return (lambda model: reparameterize_model(model)) if request.param == 'fused' else (lambda model: model)


@pytest.fixture(params=NAMES)
def model(request, fuse):
    return fuse(seen(request.param))


def outputs(model, *batches):
    """What a model gives for batches of these sizes, after a check that it tells the images apart."""
    with torch.no_grad():
        results = [model(images(batch)) for batch in batches]
    assert all(y.shape == (batch, NUM_CLASSES) for y, batch in zip(results, batches, strict=True))
    assert torch.cat(results).std(0).min() > 1e-3
    return results


def close(actual, expected, atol=1e-4):
    torch.testing.assert_close(torch.as_tensor(actual), expected, rtol=0, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize('backend', ['aot_eager', 'inductor'])
def test_compile(backend, model):
    torch._dynamo.reset()
    expected = outputs(model, 2, 5, 3)
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=backend)
    with torch.no_grad():
        for y in expected:
            close(compiled(images(len(y))), y)


def test_torch_export(model, tmp_path):
    exported = torch.export.export(model, (images(2),), dynamic_shapes=({0: torch.export.Dim('batch')},))
    torch.export.save(exported, tmp_path / 'model.pt2')
    loaded = torch.export.load(tmp_path / 'model.pt2').module()
    for y in outputs(model, 1, 2, 7):
        close(loaded(images(len(y))), y, atol=1e-5)


def export_onnx(model, path, example=None):
    """Export with a batch of 2, for batches of any size."""
    torch.onnx.export(
        model,
        (images(2) if example is None else example,),
        path,
        dynamo=True,
        input_names=['images'],
        output_names=['logits'],
        dynamic_shapes=({0: torch.export.Dim('batch')},),
        external_data=False,
        verbose=False,
    )


def run_onnx(path, x):
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return session.run(['logits'], {'images': x.numpy()})[0]


def test_onnx(model, tmp_path):
    export_onnx(model, tmp_path / 'model.onnx')
    onnx.checker.check_model(tmp_path / 'model.onnx', full_check=True)
    for y in outputs(model, 1, 2, 7):
        logits = run_onnx(tmp_path / 'model.onnx', images(len(y)))
        assert logits.dtype == np.float32
        close(logits, y)


@pytest.mark.slow
def test_fusing_makes_the_exported_graph_smaller(tmp_path):
    nodes = {}
    for name, change in (('plain', lambda m: m), ('fused', reparameterize_model)):
        export_onnx(change(seen()), tmp_path / f'{name}.onnx')
        nodes[name] = [node.op_type for node in onnx.load(tmp_path / f'{name}.onnx').graph.node]
    assert nodes['fused'].count('Conv') < 0.6 * nodes['plain'].count('Conv')


@pytest.mark.filterwarnings(
    'ignore:.*torch.jit.*:FutureWarning',
    'ignore:.*torch.jit.*:DeprecationWarning',
    'ignore:Converting a tensor to a Python boolean:torch.jit.TracerWarning',  # a check in timm's attention
)
@pytest.mark.parametrize('how', ['script', 'trace'])
@pytest.mark.parametrize('name', NAMES)
def test_torchscript(how, name, fuse, tmp_path):
    model = fuse(seen(name, scriptable=True))
    made = torch.jit.script(model) if how == 'script' else torch.jit.trace(model, images(2))
    torch.jit.save(made, tmp_path / 'model.pt')
    loaded = torch.jit.load(tmp_path / 'model.pt')
    for y in outputs(model, 1, 2, 7):
        with torch.no_grad():
            close(loaded(images(len(y))), y, atol=1e-5)


def test_bfloat16_autocast(model):
    (expected,) = outputs(model, 16)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        logits = model(images(16))
    assert logits.dtype == torch.bfloat16
    error = (logits.float() - expected).abs().max() / expected.std(0).mean()
    assert 0 < error < 0.3


def test_training_under_bfloat16_autocast():
    model = seen().train()
    with torch.autocast('cpu', torch.bfloat16):
        loss = nn.functional.cross_entropy(model(images(8)), torch.arange(8) % NUM_CLASSES)
    loss.backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())
