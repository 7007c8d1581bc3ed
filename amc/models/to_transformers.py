"""Pruned networks of Hugging Face as folders that transformers loads by itself.

Only a network that a configuration describes can be one: all layers have one width where the configuration has one
entry, and whole blocks are left out. Which configuration that is, is searched (:mod:`amc.models.configuration`); what
is written was loaded again, and gave the same outputs.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from amc.core.errors import AmcError, first_line
from amc.core.files import replacing_folder, write_error
from amc.models.configuration import Family, blocks_of, contents_for, renamed
from amc.models.from_transformers import DROPPED, TASKS, offline, safe, without_bars
from amc.models.libraries import TRANSFORMERS, import_library

SAME = 1e-5  # largest difference of outputs, relative to the largest output
LABELS = {"id2label", "label2id"}
# What a folder that this module wrote may hold; a folder with anything else is not replaced.
OWN_FILES = ("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json")

Call = Callable[[nn.Module], Any]


def plain_network(small: nn.Module, dropped: Collection[str] = (), call: Call | None = None) -> nn.Module:
    """A network of transformers' own that is the pruned one, in evaluation mode.

    Args:
        small: cut out of a network of transformers, whose configuration it still has; left as it is.
        dropped: paths of whole blocks in it (``model.layers.3``) that give what they get.
        call: as for :func:`write_folder`. Without it outputs are not compared, and sizes alone may mean several
            networks (four heads of eight channels, or eight of four): it is the likeliest then, on the CPU.

    Raises:
        AmcError: it is no network of transformers, or no configuration describes it.
    """
    if call is None:
        return next(iter(_Candidates(small, dropped)))
    return _alike(small, call, _output(small, call), dropped)


def write_folder(folder: str | Path, small: nn.Module, call: Call, dropped: Collection[str] = ()) -> str:
    """Writes ``config.json`` and ``model.safetensors``, which transformers loads without this project.

    Args:
        folder: replaced as a whole, if it was written by this function before; its parents are made.
        small, dropped: as for :func:`plain_network`.
        call: runs a network on an example, on the device of ``small``, such as ``lambda model: model(images)``.

    Returns:
        The class that loads it, such as ``AutoModelForCausalLM``.

    Raises:
        AmcError: no configuration describes the network, what was loaded again gives other outputs, or the folder
            can't be written or holds other files. Nothing is left behind.
    """
    folder = Path(folder)
    _check_folder(folder)
    expected = _output(small, call)
    network = _alike(small, call, expected, dropped)
    auto = _loader(network)
    try:
        with replacing_folder(folder) as temporary:
            with offline(), _quiet():
                network.save_pretrained(temporary)  # type: ignore[operator]
                again = auto.from_pretrained(
                    temporary, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype="auto"
                )
            difference = _difference(_output(again.to(expected.device), call), expected)
            if difference:
                raise AmcError(f"{folder}: loaded again by {auto.__name__}, {difference}; it was not written")
    except OSError as error:
        raise write_error(folder, error) from error
    except SafetensorError as error:  # a full disk, too
        raise AmcError(f"{folder}: can't be written ({first_line(error)}); free some disk space") from error
    except ValueError as error:  # of the library's checks
        raise AmcError(f"{folder}: transformers won't save or load it ({first_line(error)})") from error
    return str(auto.__name__)


def _alike(small: nn.Module, call: Call, expected: Tensor, dropped: Collection[str]) -> nn.Module:
    """The network of the first configuration that gives the outputs of ``small``."""
    reasons = []
    candidates = _Candidates(small, dropped)
    for network in candidates:
        try:
            difference = _difference(_output(network.to(expected.device), call), expected)
        except Exception as error:  # the networks' own code may raise anything
            difference = f"it does not run ({first_line(error)})"
        if not difference:
            return network
        reasons.append(difference)
    name = candidates.family.config_class.__name__
    refused = f"; of another, {name} says: {candidates.refused}" if candidates.refused else ""
    raise AmcError(
        f"{candidates.family.model_class.__name__}: with the sizes that {name} can give, {reasons[0]}, as it reckons a "
        f"number from a width that was cut{refused}; cut that otherwise, or load the network by amc"
    )


class _Candidates:
    """Networks with the weights of ``small``, of every configuration that gives its sizes, the likeliest first."""

    def __init__(self, small: nn.Module, dropped: Collection[str]) -> None:
        self.family = Family(_real_class(small), type(small.config))
        self._small = small
        blocks = blocks_of(small, dropped)
        state = {renamed(name, blocks): tensor for name, tensor in small.state_dict().items()}
        self._state = {name: tensor for name, tensor in state.items() if name is not None}
        with offline(), _quiet():
            content = safe(small.config.to_dict(), DROPPED - LABELS)  # type: ignore[operator, union-attr]
            self._contents, self.refused = contents_for(self.family, content, small, dropped)

    def __iter__(self) -> Iterator[nn.Module]:
        for content in self._contents:
            with offline(), _quiet():
                network = _loaded(self.family.model_class, self.family.config(content), self._state)
            if hasattr(self._small, "generation_config"):
                network.generation_config = copy.deepcopy(self._small.generation_config)
            yield network


def _loaded(made: Any, config: Any, state: Mapping[str, Tensor]) -> nn.Module:
    dtype = next((tensor.dtype for tensor in state.values() if tensor.is_floating_point()), torch.float32)
    own = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
    try:
        network: nn.Module = made.from_pretrained(None, config=config, state_dict=own, dtype=dtype)
        network.load_state_dict(own)  # the library's loader renames tensors of old folders, and forgives
    except Exception as error:  # of the library
        raise AmcError(
            f"{made.__name__}: {type(config).__name__} gives the network's sizes, but its weights can't be loaded "
            f"({first_line(error)}); load it by amc"
        ) from error
    config.name_or_path = ""
    return network.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's bars, and what it says of every configuration that is tried and makes no sense."""
    logging = import_library(TRANSFORMERS).utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        with without_bars():
            yield
    finally:
        logging.set_verbosity(before)


def _real_class(model: nn.Module) -> Any:
    """The class of transformers that the network is of, below one that this project put on top."""
    transformers = import_library(TRANSFORMERS)
    for one in type(model).__mro__:
        own = getattr(sys.modules.get(one.__module__), one.__name__, None) is one
        if own and one.__module__.startswith("transformers.models.") and issubclass(one, transformers.PreTrainedModel):
            return one
    raise AmcError(
        f"{type(model).__name__}: no network of transformers, so that it can't be written as a folder for it; "
        "amc.export writes ONNX of any network"
    )


def _loader(network: nn.Module) -> Any:
    """The Auto class that picks this class by its configuration; the class itself where none does."""
    from transformers.models.auto import modeling_auto

    # a network that writes from what it reads is in the tables of several tasks
    first = (TASKS["seq2seq-lm"], *TASKS.values())
    for name in (*first, *sorted(name for name in vars(modeling_auto) if name.startswith("AutoModel"))):
        auto = getattr(modeling_auto, name)
        mapping = getattr(auto, "_model_mapping", None)
        if mapping is not None and type(network.config) in mapping:
            known = mapping[type(network.config)]
            if type(network) in (known if isinstance(known, tuple) else (known,)):  # of several, the folder says which
                return auto
    return type(network)


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise AmcError(f"{folder}: is a file; give a folder")
    for path in folder.iterdir() if folder.exists() else ():
        if not any(path.match(pattern) for pattern in OWN_FILES):
            raise AmcError(f"{folder}: holds {path.name}, which would be lost; give a new folder")


@torch.no_grad()
def _output(model: nn.Module, call: Call) -> Tensor:
    """What it gives in evaluation mode: the logits, or its first tensor."""
    training = [module for module in model.modules() if module.training]
    try:
        given = call(model.eval())
    finally:
        for module in training:
            module.training = True
    logits = getattr(given, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    leaves = tree_leaves(list(given.values()) if isinstance(given, Mapping) else given)
    first = next((leaf for leaf in leaves if isinstance(leaf, Tensor)), None)
    if first is None:
        raise AmcError(f"{type(model).__name__}: gives no tensor; its outputs can't be compared")
    return first


def _difference(actual: Tensor, expected: Tensor) -> str:
    """How two outputs differ; empty if they don't."""
    if actual.shape != expected.shape:
        return f"the output is {tuple(actual.shape)} instead of {tuple(expected.shape)}"
    if torch.equal(actual, expected):  # infinities, too
        return ""
    apart, largest = (float(t.abs().max()) if t.numel() else 0.0 for t in (actual - expected, expected))
    eps = torch.finfo(expected.dtype).eps if expected.is_floating_point() else 0.0
    if apart <= max(SAME, 4 * eps) * largest:
        return ""
    return f"outputs differ by {apart / largest if largest else apart:.1e} of the largest"
