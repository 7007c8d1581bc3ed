"""Exports a pruned network for other programs: ``python -m amc.export run=RUN_DIR format=onnx``."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.table import Table
from rich.text import Text
from torch import nn

from amc.core.errors import AmcError
from amc.core.files import plain, write_bytes, write_json
from amc.core.memory import require_memory
from amc.core.trust import listed
from amc.export.folder import export_folder
from amc.export.formats import Format, OnnxNetwork, Runner, _explained, _format, _quietly_on_one_thread
from amc.models.given import own_copy
from amc.pruning.counting import count_macs
from amc.pruning.latency import measure_ms
from amc.pruning.plain_folder import NAME as FOLDER
from amc.pruning.rebuild import MODEL, build_uncut
from amc.pruning.saved import load, read_info
from amc.reporting.console import count, show

TOLERANCE = 1e-4  # between the exported and the torch network, of the largest output or of 1
BATCH_SIZES = (1, 5)  # that the exported network is tried with


@dataclass(frozen=True)
class Footprint:
    """Size, cost and latency of a network.

    Attributes:
        file_bytes: size of the exported file.
        weight_bytes: of its parameters and buffers.
        macs, params: of one image; of the network.
        torch_ms, onnxruntime_ms: latency of one image on one thread; ``None`` where the format has no other runtime.
    """

    file_bytes: int
    weight_bytes: int
    macs: int
    params: int
    torch_ms: float
    onnxruntime_ms: float | None


def export(
    run: str | Path,
    format: str = "onnx",  # noqa: A002 - as the command line has it
    *,
    model: nn.Module | None = None,
    trust: str | Collection[str] = (),
    verbose: bool = True,
) -> dict[str, Any]:
    """Writes the pruned network of a run as ONNX or as a torch program, for any number of images at once.

    It is written only if, read back, it gives the network's own outputs. It lies in ``export/`` in the run's folder,
    with ``export.json`` beside it.

    Args:
        run: a run's folder with the network in ``pruned/``, or a folder of :func:`amc.pruning.saved.save_pruned`.
        format: ``onnx`` (input ``images``, float32 ``[batch, c, h, w]``, normalised; output ``logits``),
            ``torch_export`` (for ``torch.export.load``) or ``transformers`` (a folder that transformers loads by
            itself, of networks of Hugging Face).
        model: the dense architecture, for networks that :func:`amc.load` can't build by itself; left as it is.
        trust: dotted path, or several, of code of your own that may be run if the folder names it.
        verbose: print the footprints of the dense and the pruned network.

    Returns:
        The content of ``export.json``; differences are relative to the largest output, or to 1 where that is less.

    Raises:
        AmcError: no pruned network there, an unknown format, a missing package, a network that can't be exported or
            gives other outputs once it is, or a folder that can't be written. An earlier export is then untouched.
    """
    chosen = None if format == FOLDER else _format(format)
    folder = pruned_folder(run)
    info = read_info(folder)
    small = load(folder, model, trust).float()
    if chosen is None:
        return export_folder(Path(run) / "export", small, info, verbose)
    uncut = own_copy(model) if model is not None else build_uncut(folder, info, listed(trust))
    if info.image_shape is not None:
        size = 4 * max(BATCH_SIZES) * math.prod(info.image_shape)
        require_memory(f"{folder}: image_shape {info.image_shape}", size, "it is damaged")
    images = info.example(max(BATCH_SIZES))
    if not isinstance(images, torch.Tensor):
        raise AmcError(f"{folder}: its network takes several inputs, or inputs by name; only a single one is exported")
    with _quietly_on_one_thread():
        with _explained(format, small):
            content, before = (chosen.write(network, images) for network in (small, uncut))
            difference = _difference(chosen.read(content), small, images)
        if not difference <= TOLERANCE:  # NaN is no success
            raise AmcError(
                f"format={format}: the exported network's outputs differ from torch's by {difference:.2g} of the "
                f"largest, more than {TOLERANCE:.0e}; nothing was written, try another format"
            )
        footprints = _measured(chosen, (uncut, small), (before, content), images[:1])
    result: dict[str, Any] = plain(
        {
            "format": format,
            "file": chosen.file,
            **{name: getattr(info, name) for name in ("image_shape", "num_classes", "mean", "std")},
            **({} if info.inputs is None else {"inputs": info.inputs}),
            "check": {"batch_sizes": BATCH_SIZES, "largest_difference": difference, "tolerance": TOLERANCE},
            **{name: asdict(footprint) for name, footprint in zip(("uncut", "pruned"), footprints, strict=True)},
            "versions": {package: version(package) for package in ("torch", *chosen.packages)},
        }
    )
    target = Path(run) / "export"
    write_bytes(target / chosen.file, content)
    write_json(target / "export.json", result)
    if verbose:
        show(_table(footprints, chosen.file))
        tried = " and ".join(map(str, BATCH_SIZES))
        show(Text(f"{tried} images at once: the same outputs as torch's, largest difference {difference:.1e}"))
        show(Text(f"written: {target / chosen.file}"))
    return result


def pruned_folder(run: str | Path) -> Path:
    """The folder of the pruned network in a run. Raises ``AmcError`` if there is none."""
    for folder in (Path(run) / "pruned", Path(run)):
        if (folder / MODEL).is_file():
            return folder
    raise AmcError(f"run={run}: holds no pruned network (no pruned/{MODEL}); give the folder of an amc.finetune run")


@torch.inference_mode()
def _difference(exported: Runner, model: nn.Module, images: torch.Tensor) -> float:
    """Largest difference of the outputs over all batch sizes, relative to the largest output or to 1."""
    differences = []
    for n in BATCH_SIZES:
        expected, actual = model(images[:n]), exported(images[:n])
        if actual.shape != expected.shape:
            return math.inf
        differences.append((actual - expected).abs().max() / expected.abs().max().clamp(min=1))
    return float(torch.stack(differences).max())


def _measured(
    chosen: Format, models: Sequence[nn.Module], contents: Sequence[bytes], image: torch.Tensor
) -> tuple[Footprint, ...]:
    """Footprint of each network; they are timed in turns, in the layout that suits convolutions best."""
    runners = [OnnxNetwork(content) for content in contents] if chosen.read is OnnxNetwork else []
    laid_out = [model.to(memory_format=torch.channels_last) for model in models]
    measured_ms = measure_ms([*laid_out, *runners], image)
    onnxruntime_ms: list[float | None] = [*measured_ms[len(models) :]] or [None] * len(models)
    return tuple(
        Footprint(
            file_bytes=len(content),
            weight_bytes=sum(tensor.nbytes for tensor in model.state_dict().values()),
            macs=count_macs(model, image),
            params=sum(parameter.numel() for parameter in model.parameters()),
            torch_ms=measured_ms[i],
            onnxruntime_ms=onnxruntime_ms[i],
        )
        for i, (model, content) in enumerate(zip(models, contents, strict=True))
    )


def _table(footprints: Sequence[Footprint], file: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for header in ("", "uncut", "pruned", "change"):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    rows: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("file_bytes", file, lambda size: f"{count(size)}B"),
        ("weight_bytes", "weights", lambda size: f"{count(size)}B"),
        ("macs", "MACs", count),
        ("params", "parameters", count),
        ("torch_ms", "torch, 1 image, 1 thread", lambda ms: f"{ms:.3g} ms"),
        ("onnxruntime_ms", "onnxruntime, the same", lambda ms: f"{ms:.3g} ms"),
    )
    for attribute, label, shown in rows:
        old, new = (getattr(footprint, attribute) for footprint in footprints)
        if old is not None and new is not None:
            table.add_row(label, shown(old), shown(new), f"× {new / old:.3f}" if old else "")
    return table
