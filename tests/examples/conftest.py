"""The examples are scripts: the search for doctests would import them, and the trainers that they need."""

collect_ignore = ['accelerate_loop.py', 'hf_trainer.py', 'lightning_module.py', 'plain_torch.py']
