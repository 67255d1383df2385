"""What autograd keeps between the forward and the backward pass."""

from collections.abc import Callable

import torch


def kept_bytes(forward: Callable[[], torch.Tensor]) -> int:
    """The bytes of all tensors, each counted once, that autograd keeps for the backward pass."""
    seen, held = {}, []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)  # memory that is freed meanwhile could come back under the same address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(seen.values())
