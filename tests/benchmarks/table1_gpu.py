"""VIPF's Table 1 at full size: its seven rows, 50 layers, equal epochs, as many as fit into some minutes on one GPU.

    python tests/benchmarks/table1_gpu.py --data FOLDER --save packed.npz     pack an image folder (train, validation)
    python tests/benchmarks/table1_gpu.py --packed packed.npz --minutes 25    train all rows and print the table

Images lie on the GPU as uint8 and are augmented there; bfloat16 autocast, channels last, compiled. Batch, learning
rate and weight decay are the same for all rows, and so is the start value of the last BatchNorm. Results go to
--csv as they come. The time of the epochs is measured after compilation, so that the whole run ends in time.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np
import timm
import torch
from evidence.images import augment
from evidence.training import learning_rate
from PIL import Image
from torch import nn

import timm_vipriors  # noqa: F401  registers the models
from timm_vipriors.loss import create_loss
from timm_vipriors.task import FeatureClassificationTask, feature_dim

ROWS = (  # the name, the model, its loss, and the paper's top-1
    ('ResNeXt50_32x4d', 'resnext50_32x4d', 'ce', 52.01),
    ('D-ResNeXt50_32x4d', 'd_resnext50_32x4d', 'ce', 54.45),
    ('SK-ResNeXt50_32x4d without anti-aliasing', 'sk_resnext50_32x4d_noaa', 'ce', 54.06),
    ('SK-ResNeXt50_32x4d', 'sk_resnext50_32x4d', 'ce', 54.37),
    ('DSK-ResNeXt50_32x4d', 'dsk_resnext50_32x4d', 'ce', 55.97),
    ('DSK-ResNeXt50_32x4d + PCL', 'dsk_resnext50_32x4d', 'pcl', 56.48),
    ('DSK-ResNeXt50_32x4d + PCL + CL', 'dsk_resnext50_32x4d', 'pcl+center', 57.51),
)
MIB = 2**20
SPLITS = ('train', 'validation')


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, help='image folder with train/ and validation/')
    parser.add_argument('--packed', type=Path, help='file that --save wrote')
    parser.add_argument('--save', type=Path, help='only pack --data into this .npz file')
    parser.add_argument('--size', type=int, default=64, help='width and height in pixels when packing')
    parser.add_argument('--minutes', type=float, default=25, help='time for everything, compilation too')
    parser.add_argument('--epochs', type=int, help='a number of epochs in place of the time')
    parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--lr', type=float, default=0.1)
    parser.add_argument('--wd', type=float, default=5e-4)
    parser.add_argument('--zero-init-last', type=int, choices=(0, 1), default=1, help='last BatchNorms start at 0 (1)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--csv', type=Path, default=Path('table1.csv'))
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--no-compile', action='store_true')
    parser.add_argument('--tiny', action='store_true', help='four blocks of 8 groups, to see that it runs on a CPU')
    return parser


def main() -> None:
    args = make_parser().parse_args()
    if (args.data is None) == (args.packed is None):
        sys.exit('give either --data or --packed')
    content = pack(args.data, args.size) if args.data else dict(np.load(args.packed))
    if args.save:
        save(content, args.save)
        return
    start = time.perf_counter()
    device = torch.device(args.device)
    if args.tiny:
        torch.set_num_threads(1)
    data = {name: torch.from_numpy(array).to(device) for name, array in content.items() if name != 'classes'}
    num_classes = len(content['classes'])
    count, steps = len(data['train']), max(1, len(data['train']) // args.batch)
    print(f'{count} images in train, {len(data["validation"])} in validation, {num_classes} classes, {steps} steps')

    tasks = []
    for name, model, loss, paper in ROWS:
        torch.manual_seed(args.seed)
        task = make_task(model, loss, num_classes, device, args)
        tasks.append((name, paper, task, time_step(task, data, args)))
        print(f'{name}: {1e3 * tasks[-1][-1]:.1f} ms a step', flush=True)
    an_epoch = steps * sum(seconds for *_, seconds in tasks)
    left = 60 * args.minutes - (time.perf_counter() - start)
    epochs = args.epochs or int(0.9 * left / an_epoch)  # a tenth for the evaluation
    if epochs < 1:
        sys.exit(
            f'no epoch fits into {args.minutes} minutes: one of all rows takes {an_epoch / 60:.1f} after compilation'
        )
    print(f'\n{epochs} epochs\n\n| row | top-1 | paper | training loss | seconds |\n|---|---|---|---|---|')
    with open(args.csv, 'w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(('row', 'epochs', 'top1', 'train_loss', 'seconds', 'step_seconds'))
        for name, paper, task, step_seconds in tasks:
            began = time.perf_counter()
            train_loss = train(task, data, epochs, steps, args)
            top1 = evaluate(task, data, args)
            seconds = time.perf_counter() - began
            print(f'| {name} | {top1:.2f} | {paper:.2f} | {train_loss:.3f} | {seconds:.0f} |', flush=True)
            writer.writerow((name, epochs, f'{top1:.2f}', f'{train_loss:.4f}', f'{seconds:.1f}', f'{step_seconds:.5f}'))
            file.flush()


def pack(folder: Path, size: int) -> dict[str, np.ndarray]:
    """All images of an image folder as uint8 arrays (N, 3, size, size), with their targets."""
    classes = sorted(path.name for path in (folder / 'train').iterdir())
    content: dict[str, np.ndarray] = {'classes': np.array(classes)}
    for split in SPLITS:
        pixels, target = [], []
        for label, name in enumerate(classes):
            for path in sorted((folder / split / name).iterdir()):
                with Image.open(path) as image:
                    image = image.convert('RGB').resize((size, size), Image.Resampling.BICUBIC)
                pixels.append(np.asarray(image).transpose(2, 0, 1))
                target.append(label)
        content |= {split: np.stack(pixels), f'{split}_target': np.array(target)}
    return content


def save(content: dict[str, np.ndarray], path: Path) -> None:
    np.savez_compressed(path, **content)
    mib = path.stat().st_size / MIB
    print(f'{path}: {mib:.1f} MiB' + (', more than the 60 MiB that can be sent' if mib > 60 else ''))


def make_task(name: str, loss: str, num_classes: int, device: torch.device, args: argparse.Namespace) -> nn.Module:
    kwargs = dict(num_classes=num_classes, zero_init_last=bool(args.zero_init_last))
    if args.tiny:
        kwargs |= dict(layers=(1, 1, 1, 1), channels=(32, 32, 32, 32), cardinality=8, base_width=8)
    model = timm.create_model(name, **kwargs).to(device, memory_format=torch.channels_last)
    sizes = dict(num_classes=num_classes, feature_dim=feature_dim(model)) if 'center' in loss else {}
    task = FeatureClassificationTask(model, create_loss(loss, **sizes), device=device, verbose=False).train()
    if not args.no_compile:
        task.compile()
    return task


def time_step(task: nn.Module, data: dict[str, torch.Tensor], args: argparse.Namespace) -> float:
    """Seconds of a training step after compilation; the task is as it was afterwards."""
    before = {name: value.clone() for name, value in task.state_dict().items()}
    rounds = 2 if args.tiny else 20
    step = stepper(task, data, rounds + 5, args)
    for _ in range(5):
        step()
    began = time.perf_counter()
    losses = [step() for _ in range(rounds)]
    losses[-1].item()  # waits for the GPU
    seconds = (time.perf_counter() - began) / rounds
    task.load_state_dict(before)
    return seconds


def stepper(task: nn.Module, data: dict[str, torch.Tensor], total: int, args: argparse.Namespace):
    """A function that takes the next training step and returns its loss."""
    device = data['train'].device
    generator = torch.Generator(device).manual_seed(args.seed)
    decayed = [p for p in task.parameters() if p.ndim > 1]
    others = [p for p in task.parameters() if p.ndim <= 1]
    groups = [dict(params=decayed, weight_decay=args.wd), dict(params=others, weight_decay=0.0)]
    optimizer = torch.optim.SGD(groups, lr=args.lr, momentum=0.9, nesterov=True)
    batch = min(args.batch, len(data['train']))
    order = torch.empty(0, dtype=torch.long, device=device)
    taken = 0

    def step() -> torch.Tensor:
        nonlocal order, taken
        if len(order) < batch:
            order = torch.randperm(len(data['train']), generator=generator, device=device)
        chosen, order = order[:batch], order[batch:]
        x = augment(normalized(data['train'][chosen]), generator, scale=0.35, degrees=0, mirrored=True)
        for group in optimizer.param_groups:
            group['lr'] = args.lr * learning_rate(taken, total // 20, total)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == 'cuda'):
            loss = task(x.contiguous(memory_format=torch.channels_last), data['train_target'][chosen])['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        taken += 1
        return loss.detach()

    return step


def train(task: nn.Module, data: dict[str, torch.Tensor], epochs: int, steps: int, args: argparse.Namespace) -> float:
    """Returns the mean loss of the last epoch."""
    step = stepper(task, data, epochs * steps, args)
    for _ in range((epochs - 1) * steps):
        step()
    return torch.stack([step() for _ in range(steps)]).mean().item()


def normalized(x: torch.Tensor) -> torch.Tensor:
    return (x.float() - 127.5) / 64


@torch.no_grad()
def evaluate(task: nn.Module, data: dict[str, torch.Tensor], args: argparse.Namespace) -> float:
    """Top-1 on the validation images in percent."""
    model = task.get_eval_model().eval()
    right = 0
    for x, target in zip(data['validation'].split(500), data['validation_target'].split(500), strict=True):
        x = normalized(x).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
            right += int((model(x).argmax(1) == target).sum())
    return 100 * right / len(data['validation'])


if __name__ == '__main__':
    main()
