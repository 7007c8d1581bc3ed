"""Curves as a printed table, and as ``sensitivity.csv``."""

from __future__ import annotations

import csv
import io

from rich import box
from rich.table import Table
from rich.text import Text

from amc.analysis.curves import Curves
from amc.analysis.heuristics.counts import shares
from amc.pruning.cost import CostModel

ONE_POINT = 0.01  # of the score


def sensitivity_table(curves: Curves, cost_model: CostModel) -> Table:
    """Per group: the costs that depend on it, how far it can be cut for one point of the metric, and what that saves.

    What is saved keeps a tiny robust layer from looking like a find.
    """
    total, depending = cost_model.cost(), shares(cost_model)
    by_name = {g.name: g for g in cost_model.groups}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.title, table.title_justify = f"Each group alone; dense: {curves.scale.text(curves.dense_score)}", "left"
    table.add_column("group", overflow="fold")
    smallest = min(curves.keep_ratios)
    headers = (
        "channels",
        "MACs",
        "params",
        "keep ratio for 1 point",
        "MACs saved by it",
        f"{curves.metric} at {smallest:g}",
    )
    for header in headers:
        table.add_column(header, justify="right")
    for row, name in enumerate(curves.names):
        group, ratio = by_name[name], curves.keep_ratio_at_drop(name, ONE_POINT)
        saved = 1 - cost_model.cost({name: group.round_channels(ratio)}).macs / total.macs
        cells = (
            name, str(group.channels), _percent(depending[name][0]), _percent(depending[name][1]),
            f"{ratio:.2f}", _percent(saved), curves.scale.text(float(curves.score[row, -1]), " "),
        )  # fmt: skip
        table.add_row(*map(Text, cells))
    notes = [
        "MACs and params: of the layers that make or read the group's channels; "
        f"{curves.metric} on {curves.images} images"
    ]
    table.caption, table.caption_justify = Text("\n".join(notes)), "left"
    return table


def csv_text(curves: Curves, cost_model: CostModel) -> str:
    """A row per group and keep ratio, floats exact to the last bit.

    ==============================  ===========================================================
    column                          meaning
    ==============================  ===========================================================
    ``group``                       name, in walk order
    ``keep_ratio``                  as asked for
    ``kept``, ``channels``          channels really kept, and of how many
    ``accuracy`` (the metric's name), ``loss``  with this group alone cut
    ``macs_ratio``, ``params_ratio``  of the whole network so cut, as fractions of the dense one's
    ==============================  ===========================================================

    The dense network is the row without a group.
    """
    buffer, total = io.StringIO(), cost_model.cost()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("group", "keep_ratio", "kept", "channels", curves.metric, "loss", "macs_ratio", "params_ratio"))
    writer.writerow(("", 1.0, "", "", curves.scale.value_of(curves.dense_score), curves.dense_loss, 1.0, 1.0))
    for row, (name, channels) in enumerate(zip(curves.names, curves.channels, strict=True)):
        for column, ratio in enumerate(curves.keep_ratios):
            kept = int(curves.kept[row, column])
            cost = cost_model.cost({name: kept})
            values = (curves.scale.value_of(float(curves.score[row, column])), float(curves.loss[row, column]))
            ratios = (cost.macs / total.macs, cost.params / total.params)
            writer.writerow((name, ratio, kept, channels, *values, *ratios))
    return buffer.getvalue()


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
