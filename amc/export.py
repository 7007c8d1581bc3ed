"""Exports a pruned network for other programs: ``python -m amc.export run=RUN_DIR format=onnx``."""

from __future__ import annotations

import copy
import importlib
import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich import box
from rich.table import Table
from rich.text import Text
from torch import nn

from amc.checks import one_of
from amc.errors import AmcError, first_line
from amc.files import plain, write_bytes, write_json
from amc.latency import measure_ms
from amc.layers import count_macs
from amc.pruned import MODEL, build_uncut, load, read_info
from amc.report import count, show

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = ["export", "main", "main_from_config"]

TOLERANCE = 1e-4  # between the exported and the torch network, of the largest output or of 1
BATCH_SIZES = (1, 5)  # that the exported network is tried with

Runner = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Format:
    """One way to write a network down.

    Attributes:
        file: name of the file.
        packages: what must be installed, beside torch.
        write: network and example input ``[n, c, h, w]`` → the file's content; any number of images may be given to it.
        read: the file's content → a network that runs it.
    """

    file: str
    packages: tuple[str, ...]
    write: Callable[[nn.Module, torch.Tensor], bytes]
    read: Callable[[bytes], Runner]


@dataclass(frozen=True)
class Footprint:
    """What a network takes up.

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


class OnnxNetwork(nn.Module):
    """An ONNX file in onnxruntime, called like a torch network; on one thread."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        (logits,) = self._session.run(None, {"images": images.numpy()})
        return torch.from_numpy(logits)


def _write_onnx(model: nn.Module, example: torch.Tensor) -> bytes:
    program = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["images"],
        output_names=["logits"],
        verbose=False,
    )
    assert program is not None
    content = program.model_proto
    for node in content.graph.node:
        del node.metadata_props[:]  # stack traces, with the paths of this machine
    serialised: bytes = content.SerializeToString()
    return serialised


def _write_torch_export(model: nn.Module, example: torch.Tensor) -> bytes:
    program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # as above
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _read_torch_export(content: bytes) -> Runner:
    return torch.export.load(io.BytesIO(content)).module()


FORMATS = {
    "onnx": Format("model.onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, OnnxNetwork),
    "torch_export": Format("model.pt2", (), _write_torch_export, _read_torch_export),
}


def export(
    run: str | Path,
    format: str = "onnx",  # noqa: A002 - as the command line has it
    *,
    model: nn.Module | None = None,
    verbose: bool = True,
) -> dict[str, Any]:
    """Writes the pruned network of a run as ONNX or as a torch program, for any number of images at once.

    It is written only if, read back, it gives the network's own outputs. It lies in ``export/`` in the run's folder,
    with ``export.json`` beside it.

    Args:
        run: a run's folder with the network in ``pruned/``, or a folder of :func:`amc.pruned.save_pruned` itself.
        format: ``onnx`` (input ``images``, float32 ``[batch, c, h, w]``, normalised; output ``logits``) or
            ``torch_export`` (for ``torch.export.load``).
        model: the uncut architecture, for networks that :func:`amc.load` can't build by itself; left as it is.
        verbose: print what the uncut and the pruned network take up.

    Returns:
        The content of ``export.json``; differences are relative to the largest output, or to 1 where that is less.

    Raises:
        AmcError: no pruned network there, an unknown format, a missing package, a network that can't be exported or
            gives other outputs once it is, or a folder that can't be written. An earlier export is then untouched.
    """
    chosen = _format(format)
    folder = pruned_folder(run)
    info = read_info(folder)
    uncut = _fresh(model) if model is not None else build_uncut(folder, info)
    small = load(folder, uncut).float()
    images = torch.randn(max(BATCH_SIZES), *info.image_shape, generator=torch.Generator().manual_seed(0))
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


def _format(name: str) -> Format:
    one_of("format", name, FORMATS)
    for package in FORMATS[name].packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise AmcError(
                f"format={name}: {package} can't be imported ({first_line(error)}); pip install 'amc-pruning[export]'"
            ) from error
    return FORMATS[name]


def _fresh(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).cpu().float().eval()


@contextmanager
def _quietly_on_one_thread() -> Iterator[None]:
    """Keeps the exporters' warnings and log lines from the user, and torch to as many threads as onnxruntime has."""
    disabled, threads = logging.root.manager.disable, torch.get_num_threads()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(threads)
        logging.disable(disabled)


@contextmanager
def _explained(name: str, model: nn.Module) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # an exporter that meets something unexpected fails in any way it likes
        kind = type(model).__name__
        raise AmcError(f"format={name}: {kind} can't be exported ({first_line(error)}); try another format") from error


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
    """What each network takes up; they are timed in turns, in the layout that suits convolutions best."""
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


def main_from_config(config: DictConfig, _: Path) -> None:
    """Exports as configured; Hydra's own folder plays no part, the run's is written to."""
    from omegaconf import OmegaConf

    if OmegaConf.is_missing(config, "run"):
        raise AmcError("run: is missing; give the folder of an amc.finetune run, run=RUN_DIR")
    plain: Any = OmegaConf.to_container(config, resolve=True)
    model = None
    if plain["network"] is not None:
        folder = pruned_folder(plain["run"])
        model = build_uncut(folder, read_info(folder), trusted=plain["network"])
    export(plain["run"], plain["format"], model=model, verbose=plain["verbose"])


def main() -> None:
    """``python -m amc.export`` and the console script."""
    from amc.cli import run

    run("export", main_from_config)


if __name__ == "__main__":
    main()
