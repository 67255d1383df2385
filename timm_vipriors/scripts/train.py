"""The bundled training script, for those without a checkout of timm: timm's parts in the order of timm's train.py.

It knows nothing of our losses: `Plugin` replaces its parts as those of timm's own script. With the same flags and seed
both give the same losses on the CPU.
"""

import argparse
import logging
import os
import time
from collections import OrderedDict
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import partial

import torch
import yaml
from timm import utils
from timm.data import FastCollateMixup, Mixup, create_dataset, create_loader, resolve_data_config
from timm.layers import convert_sync_batchnorm
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.models import create_model, safe_model_name
from timm.optim import create_optimizer_v2, optimizer_kwargs
from timm.scheduler import create_scheduler_v2, scheduler_kwargs
from timm.task import ClassificationTask, load_task_ema_checkpoint, resume_task_checkpoint
from torch import nn

from timm_vipriors.scripts.learning_rate import learning_rate
from timm_vipriors.scripts.options import ScriptParser, add_data_options, add_model_options, add_training_options

_logger = logging.getLogger('train')

parser = ScriptParser()
parser.add_argument('-c', '--config', default='', metavar='FILE', help='YAML file of defaults for the flags below')
add_data_options(parser, batch_size=128)
add_model_options(parser)
add_training_options(parser)


def _parse_args() -> tuple[argparse.Namespace, str]:
    args = parser.parse_args()
    if args.config:
        with open(args.config, encoding='utf-8') as f:
            parser.set_defaults(**yaml.safe_load(f))
        args = parser.parse_args()
    return args, yaml.safe_dump(vars(args), default_flow_style=False)


def main() -> None:
    utils.setup_default_logging()
    args, args_text = _parse_args()
    device = utils.init_distributed_device(args)
    primary = utils.is_primary(args)
    utils.random_seed(args.seed, args.rank)

    # the model, and how it computes
    model = create_model(
        args.model,
        pretrained=args.pretrained,
        in_chans=args.in_chans or (args.input_size[0] if args.input_size else 3),
        num_classes=args.num_classes,
        drop_rate=args.drop,
        drop_path_rate=args.drop_path,
        drop_block_rate=args.drop_block,
        global_pool=args.gp,
        checkpoint_path=args.initial_checkpoint,
        **args.model_kwargs,
    )
    args.num_classes = args.num_classes if args.num_classes is not None else model.num_classes
    if args.grad_checkpointing:
        model.set_grad_checkpointing(enable=True)
    data_config = resolve_data_config(vars(args), model=model, verbose=primary)
    model.to(device=device)
    if args.channels_last:
        model.to(memory_format=torch.channels_last)
    if args.distributed and args.sync_bn:
        args.dist_bn = ''
        model = convert_sync_batchnorm(model)
    if primary:
        _logger.info(f'{args.model}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters on {device}')
    amp_dtype = getattr(torch, args.amp_dtype)
    autocast = partial(torch.autocast, device_type=device.type, dtype=amp_dtype) if args.amp else nullcontext
    scaled = args.amp and device.type == 'cuda' and amp_dtype == torch.float16
    loss_scaler = utils.NativeScaler(device=device.type) if scaled else None

    mixup_fn, loader_train, loader_eval = create_data(args, data_config, device)

    # the task: what is learned, and how
    if args.mixup > 0 or args.cutmix > 0:
        criterion = SoftTargetCrossEntropy()  # mixup has smoothed the labels already
    elif args.smoothing:
        criterion = LabelSmoothingCrossEntropy(smoothing=args.smoothing)
    else:
        criterion = nn.CrossEntropyLoss()
    task = ClassificationTask(model=model, criterion=criterion.to(device=device), device=device, verbose=primary)
    args.lr, _ = learning_rate(args, args.world_size)
    optimizer = create_optimizer_v2(task.get_trainable_module(), **optimizer_kwargs(cfg=args), **args.opt_kwargs)
    start_epoch = 0
    if args.resume:
        states = dict(optimizer=optimizer, loss_scaler=loss_scaler) if not args.no_resume_opt else {}
        start_epoch = resume_task_checkpoint(task, args.resume, **states, log_info=primary) or 0
    start_epoch = args.start_epoch if args.start_epoch is not None else start_epoch
    if args.model_ema:
        task.setup_ema(decay=args.model_ema_decay, use_warmup=args.model_ema_warmup)
        if args.resume:
            load_task_ema_checkpoint(task, args.resume)
    if args.torchcompile:
        task.compile(backend=args.torchcompile)
        task.compile_ema(backend=args.torchcompile)
    if args.distributed:
        task.prepare_distributed(device_ids=[device])

    # the run's folder and schedule
    eval_metric = args.eval_metric if loader_eval is not None else 'loss'
    saver = output_dir = None
    if primary:
        stamp = datetime.now().strftime('%Y%m%d-%H%M%S')
        name = args.experiment or f'{stamp}-{safe_model_name(args.model)}-{data_config["input_size"][-1]}'
        output_dir = utils.get_outdir(args.output or './output/train', name)
        saver = utils.CheckpointSaver(
            model=task.get_trainable_module(),
            optimizer=optimizer,
            args=args,
            amp_scaler=loss_scaler,
            checkpoint_dir=output_dir,
            recovery_dir=output_dir,
            decreasing=eval_metric == 'loss',
            max_history=args.checkpoint_hist,
            task=task,
        )
        with open(os.path.join(output_dir, 'args.yaml'), 'w') as f:
            f.write(args_text)
    updates_per_epoch = -(-len(loader_train) // args.grad_accum_steps)
    kwargs = scheduler_kwargs(args, decreasing_metric=eval_metric == 'loss')
    scheduler, num_epochs = create_scheduler_v2(optimizer, **kwargs, updates_per_epoch=updates_per_epoch)
    if start_epoch > 0 and scheduler is not None:
        scheduler.step_update(start_epoch * updates_per_epoch) if args.sched_on_updates else scheduler.step(start_epoch)

    started = time.time()
    try:
        for epoch in range(start_epoch, num_epochs):
            if hasattr(loader_train.dataset, 'set_epoch'):
                loader_train.dataset.set_epoch(epoch)
            if hasattr(loader_train.sampler, 'set_epoch'):
                loader_train.sampler.set_epoch(epoch)
            if args.mixup_off_epoch and epoch >= args.mixup_off_epoch:
                (mixup_fn or loader_train).mixup_enabled = False
            train_metrics = train_one_epoch(
                epoch, task, loader_train, optimizer, args, device, autocast, loss_scaler, scheduler, mixup_fn
            )
            if args.distributed and args.dist_bn:
                utils.distribute_bn(task.get_trainable_module(), args.world_size, args.dist_bn == 'reduce')
            if (epoch + 1) % args.val_interval != 0 and epoch + 1 != num_epochs:
                if scheduler is not None:
                    scheduler.step(epoch + 1, metric=None)
                continue  # as timm does: no evaluation, no checkpoint
            eval_metrics, figures = None, []
            weights = [] if loader_eval is None else [False, True] if task.has_ema() else [False]
            for ema in weights:
                if ema and args.distributed and args.dist_bn:
                    utils.distribute_bn(task.get_trainable_module(ema=True), args.world_size, args.dist_bn == 'reduce')
                eval_metrics = validate(task.get_eval_model(ema=ema), loader_eval, args, device, autocast)
                figures.append(f'{"averaged weights: " if ema else ""}{eval_metrics[eval_metric]:.2f}')
            metric = (train_metrics if eval_metrics is None else eval_metrics)[eval_metric]
            if primary:
                lrs = [group['lr'] for group in optimizer.param_groups]
                summary = dict(filename=os.path.join(output_dir, 'summary.csv'), lr=sum(lrs) / len(lrs))
                utils.update_summary(epoch, train_metrics, eval_metrics, **summary)
                best = saver.save_checkpoint(epoch, metric=metric)
                done = epoch + 1 - start_epoch
                left = timedelta(seconds=round((time.time() - started) / done * (num_epochs - epoch - 1)))
                _logger.info(
                    f'Epoch {epoch}: {epoch + 1} of {num_epochs} done  loss {train_metrics["loss"]:.4f}  '
                    f'{eval_metric} {", ".join(figures) or f"{metric:.2f}"} (best {best[0]:.2f} in epoch {best[1]})  '
                    f'lr {lrs[0]:.3g}  {left} left'
                )
            if scheduler is not None:
                scheduler.step(epoch + 1, metric)
    except KeyboardInterrupt:
        pass  # as timm does; the runner says how to resume
    if args.distributed:
        torch.distributed.destroy_process_group()


def create_data(args, data_config, device):
    """Make the mixup function (or None) and the loaders of training and evaluation (or None)."""

    def loader(split, batch_size, is_training, **kwargs):
        size, mean, std = (data_config[name] for name in ('input_size', 'mean', 'std'))
        mode = 'RGB' if size[0] == 3 else 'L'
        about = dict(class_map=args.class_map, input_img_mode=mode, seed=args.seed)
        root = args.data_dir or args.data
        dataset = create_dataset(args.dataset, root, split=split, is_training=is_training, **about)
        kwargs |= dict(num_workers=args.workers, distributed=args.distributed, use_prefetcher=not args.no_prefetcher)
        kwargs |= dict(mean=mean, std=std, device=device, pin_memory=args.pin_mem)
        return create_loader(dataset, size, batch_size, is_training=is_training, **kwargs)

    mixup = None
    if args.mixup > 0 or args.cutmix > 0:
        labels = dict(label_smoothing=args.smoothing, num_classes=args.num_classes)
        make = Mixup if args.no_prefetcher else FastCollateMixup
        how = dict(prob=args.mixup_prob, switch_prob=args.mixup_switch_prob, mode=args.mixup_mode)
        mixup = make(args.mixup, args.cutmix, **how, **labels)
    loader_train = loader(
        args.train_split,
        args.batch_size,
        is_training=True,
        re_prob=args.reprob,
        re_mode=args.remode,
        re_count=args.recount,
        auto_augment=args.aa,
        interpolation=(not args.no_aug and args.train_interpolation) or data_config['interpolation'],
        collate_fn=None if args.no_prefetcher else mixup,
        **{name: getattr(args, name) for name in ('no_aug', 'scale', 'ratio', 'hflip', 'vflip', 'color_jitter')},
    )
    loader_eval = None
    if args.val_split:
        crop = {name: data_config[name] for name in ('interpolation', 'crop_pct')}
        loader_eval = loader(args.val_split, args.validation_batch_size or args.batch_size, is_training=False, **crop)
    return mixup if args.no_prefetcher else None, loader_train, loader_eval


def to_device(input, target, args, device):
    """A batch where it is needed; timm's prefetcher has put it there already."""
    if args.no_prefetcher:
        input, target = input.to(device), target.to(device)
    return input.contiguous(memory_format=torch.channels_last) if args.channels_last else input, target


def train_one_epoch(
    epoch, task, loader, optimizer, args, device, autocast, loss_scaler, scheduler, mixup_fn
) -> OrderedDict:
    """Train for an epoch and return its mean loss."""
    task.get_trainable_module().train()
    losses, started, seen = utils.AverageMeter(), time.time(), 0
    accum = args.grad_accum_steps
    updates = -(-len(loader) // accum)
    num_updates = epoch * updates
    optimizer.zero_grad()
    for index, (input, target) in enumerate(loader):
        last = index + 1 == len(loader)
        need_update = last or (index + 1) % accum == 0
        # the last update may be of fewer batches
        steps = accum if index < len(loader) - len(loader) % accum else len(loader) % accum
        input, target = to_device(input, target, args, device)
        if mixup_fn is not None:
            input, target = mixup_fn(input, target)
        with nullcontext() if need_update else task.no_sync():
            with autocast():
                loss = task(input, target)['loss'] / steps
            clip = task.get_clip_parameters(exclude_head='agc' in args.clip_mode) if args.clip_grad else None
            if loss_scaler is not None:
                loss_scaler(loss, optimizer, args.clip_grad, args.clip_mode, parameters=clip, need_update=need_update)
            else:
                loss.backward()
                if need_update and args.clip_grad:
                    utils.dispatch_clip_grad(clip, value=args.clip_grad, mode=args.clip_mode)
                if need_update:
                    optimizer.step()
        losses.update(loss.item() * steps, input.shape[0])
        seen += input.shape[0] * args.world_size
        if not need_update:
            continue
        num_updates += 1
        optimizer.zero_grad()
        task.update_ema(step=num_updates)
        update = index // accum
        if utils.is_primary(args) and (last or update % args.log_interval == 0):
            rate = seen / (time.time() - started)
            _logger.info(f'Epoch {epoch}: update {update + 1} of {updates}  loss {losses.avg:.4f}  {rate:.0f} images/s')
        if scheduler is not None:
            scheduler.step_update(num_updates=num_updates, metric=losses.avg)
    if hasattr(optimizer, 'sync_lookahead'):
        optimizer.sync_lookahead()
    mean = losses.avg
    if args.distributed:
        mean = utils.reduce_tensor(torch.tensor([mean], device=device), args.world_size).item()
    return OrderedDict(loss=mean)


@torch.inference_mode()
def validate(model, loader, args, device, autocast) -> OrderedDict:
    """Return the mean cross-entropy and the top-1 and top-5 accuracy in percent."""
    model.eval()
    meters = OrderedDict((name, utils.AverageMeter()) for name in ('loss', 'top1', 'top5'))
    for input, target in loader:
        input, target = to_device(input, target, args, device)
        with autocast():
            output = model(input)
            loss = nn.functional.cross_entropy(output, target)
        values = [loss, *utils.accuracy(output, target, topk=(1, 5))]
        for meter, value in zip(meters.values(), values, strict=True):
            if args.distributed:
                value = utils.reduce_tensor(value, args.world_size)
            meter.update(value.item(), output.shape[0])
    return OrderedDict((name, meter.avg) for name, meter in meters.items())


if __name__ == '__main__':
    main()
