"""A classification task for timm's training scripts whose criterion may see features and learn parameters."""

import json
from collections.abc import Callable
from typing import Any

import torch
from timm.models import group_parameters
from timm.task import ClassificationTask
from timm.utils import unwrap_model
from torch import nn

from .checkpoint import DESCRIPTION
from .loss.base import soft_labels


class FeatureModule(nn.Module):
    """A model and its criterion: the module that is optimised, wrapped and averaged as one.

    The features are the input of the classifier, which a forward pre-hook records while the model computes its logits;
    nothing is recorded when the model is called on its own.

    Args:
        model: A timm model.
        criterion: Called `criterion(logits, target)`, or `criterion(logits, target, features)` if it has
            `needs_features = True`.

    Shape:
        Input (B, in_chans, H, W); output: logits (B, C), and the classifier's input (B, D), or None where the
        criterion needs no features.

    Raises:
        ValueError: If the criterion needs features and the model has no classifier, or several.

    Examples:
        >>> import timm
        >>> from timm_vipriors.loss import CenterLoss
        >>> model = timm.create_model('test_dsk_resnext', num_classes=10)
        >>> module = FeatureModule(model, CenterLoss(num_classes=10, feature_dim=feature_dim(model)))
        >>> logits, features = module(torch.randn(4, 3, 64, 64))
        >>> logits.shape, features.shape
        (torch.Size([4, 10]), torch.Size([4, 384]))
    """

    def __init__(self, model: nn.Module, criterion: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.criterion = criterion
        self.recorder: InputRecorder | None = None
        classifier = get_classifier(model)
        if getattr(criterion, 'needs_features', False):
            if classifier is None:
                raise ValueError(
                    f'{type(criterion).__name__} needs the features that enter the classifier: expected a timm model '
                    f'with one classifier, got {type(unwrap_model(model)).__name__} with none or several'
                )
            self.recorder = InputRecorder()
            classifier.register_forward_pre_hook(self.recorder)
        if hasattr(criterion, 'attach') and classifier is not None:
            criterion.attach(classifier)  # for a tree that is induced online

    def forward(self, input: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.recorder is None:
            return self.model(input), None
        self.recorder.inputs = inputs = []
        try:
            logits = self.model(input)
        finally:
            self.recorder.inputs = None
        if len(inputs) != 1 or inputs[0].ndim < 2 or inputs[0].shape[2:].numel() != 1:
            shapes = ' and '.join(str(tuple(x.shape)) for x in inputs) or 'nothing'
            raise ValueError(
                f'{type(self.criterion).__name__} needs features (B, D): expected a model that calls its classifier '
                f'once with them, but the classifier of {type(unwrap_model(self.model)).__name__} got {shapes}'
            )
        return logits, inputs[0].flatten(1)  # the classifier may be a 1×1 convolution

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters without weight decay."""
        modules = {'model': self.model, 'criterion': self.criterion}
        exempt = {key: getattr(module, 'no_weight_decay', set)() for key, module in modules.items()}
        return {f'{key}.{name}' for key, names in exempt.items() for name in names}

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """The model's layers, with the criterion in the last of them, for layer-wise learning rates."""
        layers = group_parameters(self.model, self.model.group_matcher(coarse=coarse), reverse=True)
        last = max(layers.values(), default=0)
        return lambda name: layers.get(name.removeprefix('model.'), last)


class InputRecorder:
    """A forward pre-hook that appends a module's input to `inputs` while that is a list.

    Examples:
        >>> layer, recorder = nn.Linear(2, 3), InputRecorder()
        >>> _ = layer.register_forward_pre_hook(recorder)
        >>> recorder.inputs = []
        >>> _ = layer(torch.ones(1, 2))
        >>> recorder.inputs
        [tensor([[1., 1.]])]
    """

    def __init__(self) -> None:
        self.inputs: list[torch.Tensor] | None = None

    def __call__(self, module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        if self.inputs is not None:
            self.inputs.append(args[0])


def get_classifier(model: nn.Module) -> nn.Module | None:
    """The one classifier of a timm model, or None if it has none, or several."""
    model = unwrap_model(model)
    classifier = model.get_classifier() if hasattr(model, 'get_classifier') else None
    several = isinstance(classifier, nn.ModuleList | nn.ModuleDict)
    return classifier if isinstance(classifier, nn.Module) and not several else None


def feature_dim(model: nn.Module) -> int:
    """Width D of a timm model's features: what its classifier takes, or `head_hidden_size`."""
    # timm before 1.0.31 does not count global_pool='catavgmax' twice in head_hidden_size, so the classifier goes first
    for layer in getattr(get_classifier(model), 'modules', list)():
        for name in ('in_features', 'in_channels'):  # of a 1×1 convolution
            if hasattr(layer, name):
                return getattr(layer, name)
    return unwrap_model(model).head_hidden_size


class FeatureClassificationTask(ClassificationTask):
    """timm's classification task for criteria that see features or have a state of their own.

    The criterion is trained, clipped, distributed and averaged (EMA) with the model. Evaluation and the checkpoint's
    `state_dict` have the plain model; the checkpoint's `task_state` has the criterion's state.

    Args:
        model: A timm model.
        criterion: A module called `criterion(logits, target)`, or with the features (B, D) as a third argument if it
            has `needs_features = True`. None makes timm's cross-entropy.
        smoothing: Label smoothing: class indices become soft labels before the criterion sees them. Soft labels of
            mixup and CutMix stay as they are.
        device: Where the criterion goes.
        dtype: Type of the task's tensors.
        verbose: Whether to log the criterion.
        description: What checkpoints say about themselves, for `timm_vipriors.checkpoint.Checkpoint`: JSON values.

    Examples:
        >>> import timm
        >>> from timm_vipriors.loss import FocalCosineLoss
        >>> model = timm.create_model('test_dsk_resnext', num_classes=10)
        >>> task = FeatureClassificationTask(model, FocalCosineLoss(), verbose=False)
        >>> result = task(torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 3]))
        >>> result['loss'].shape, result['output'].shape
        (torch.Size([]), torch.Size([4, 10]))
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: nn.Module | None = None,
        smoothing: float = 0.0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        verbose: bool = True,
        description: dict[str, Any] | None = None,
    ) -> None:
        criterion = criterion if criterion is not None else nn.CrossEntropyLoss()
        super().__init__(model, criterion, device=device, dtype=dtype, verbose=verbose)
        del self.criterion  # the trainable module owns it
        self.trainable_module = FeatureModule(model, criterion.to(device=self.device))
        self.smoothing = smoothing
        # through JSON, since a checkpoint with NumPy's numbers does not load with weights_only
        self.description = json.loads(json.dumps(description)) if description else None

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return 'loss' and 'output' (logits) of a batch, and its 'features' where the criterion needs them."""
        output, features = self.trainable_module(input)
        if self.smoothing and target.ndim == 1:
            target = soft_labels(target, output.shape[1], torch.float32, self.smoothing)
        criterion = unwrap_model(self.trainable_module).criterion
        if features is None:
            return {'loss': criterion(output, target), 'output': output}
        return {'loss': criterion(output, target, features), 'output': output, 'features': features}

    def prepare_distributed(self, device_ids: list | None = None, **ddp_kwargs: Any) -> 'FeatureClassificationTask':
        """Wrap the trainable module in DDP, which takes no device ids on the CPU."""
        return super().prepare_distributed(device_ids if self.device.type != 'cpu' else None, **ddp_kwargs)

    def compile(self, backend: str = 'inductor', mode: str | None = None, **compile_kwargs: Any) -> nn.Module:
        """Compile the training pass and, on its own, the plain model for evaluation."""
        kwargs = dict(backend=backend, mode=mode, **compile_kwargs)
        self.eval_model = torch.compile(self.trainable_module.model, **kwargs)
        self.trainable_module = torch.compile(self.trainable_module, **kwargs)
        return self.eval_model

    def get_eval_model(self, module: nn.Module | None = None, ema: bool = False) -> nn.Module | None:
        """The plain model, without the criterion."""
        resolved = super().get_eval_model(module=module, ema=ema)
        inner = None if resolved is None else unwrap_model(resolved)
        return inner.model if isinstance(inner, FeatureModule) else resolved

    def get_clip_parameters(self, exclude_head: bool = False) -> list[nn.Parameter]:
        """The parameters whose gradient is clipped: the model's, without its classifier's if asked, the criterion's."""
        trainable = unwrap_model(self.trainable_module)
        parameters = list(trainable.model.parameters())
        return parameters[: -2 if exclude_head else None] + list(trainable.criterion.parameters())

    def get_checkpoint_state(self, ema: bool = False, **kwargs: Any) -> dict[str, Any]:
        """The model's and the criterion's state, and with the trained (not the averaged) one the description."""
        described = {DESCRIPTION: self.description} if self.description and not ema else {}
        return {**super().get_checkpoint_state(ema=ema, **kwargs), **described}

    def get_task_state(self, module: nn.Module | None = None, ema: bool = False) -> dict[str, Any]:
        """The criterion's state, or nothing where it has none."""
        module = module if module is not None else self.get_trainable_module(ema=ema)
        state = {} if module is None else unwrap_model(module).criterion.state_dict()
        return {'criterion': state} if state else {}

    def load_task_state(
        self,
        state: dict[str, Any] | None,
        strict: bool = True,
        module: nn.Module | None = None,
        ema: bool = False,
    ) -> None:
        """Load what `get_task_state` returned.

        Raises:
            ValueError: If the state is of another criterion, or missing where this one has a state.
        """
        module = module if module is not None else self.get_trainable_module(ema=ema)
        if module is None:
            raise RuntimeError('cannot load EMA task state before setup_ema()')
        criterion = unwrap_model(module).criterion
        found, expected = (state or {}).get('criterion', {}), criterion.state_dict()
        if strict and {k: v.shape for k, v in found.items()} != {k: v.shape for k, v in expected.items()}:
            raise ValueError(
                f'the checkpoint has a criterion state of {sorted(found) or "nothing"}, but '
                f'{type(criterion).__name__} has {sorted(expected) or "none"}: resume with the criterion that the '
                f'checkpoint was trained with'
            )
        criterion.load_state_dict(found, strict=strict)
