import pytest
import torch


@pytest.fixture
def one_thread():
    """Tiny networks on a busy machine: threads of torch would wait for each other most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
