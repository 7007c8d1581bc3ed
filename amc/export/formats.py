"""Export formats: how each is written and read back."""

from __future__ import annotations

import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from amc.core.checks import one_of
from amc.core.errors import AmcError, first_line

Runner = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
        file: name of the file.
        packages: required besides torch.
        write: network and example input ``[n, c, h, w]`` → the file's content, for any batch size.
        read: the file's content → a network that runs it.
    """

    file: str
    packages: tuple[str, ...]
    write: Callable[[nn.Module, torch.Tensor], bytes]
    read: Callable[[bytes], Runner]


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


@contextmanager
def _quietly_on_one_thread() -> Iterator[None]:
    """Silences the exporters' warnings and log lines, and limits torch to as many threads as onnxruntime."""
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
    except Exception as error:  # exporters may raise anything
        kind = type(model).__name__
        raise AmcError(f"format={name}: {kind} can't be exported ({first_line(error)}); try another format") from error
