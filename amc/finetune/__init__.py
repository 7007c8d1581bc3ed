"""Fine-tuning: plan → trained, loadable pruned network."""

from amc.finetune.result import FineTuneResult
from amc.finetune.run import finetune
from amc.finetune.settings import FineTuneSettings

__all__ = ["FineTuneResult", "FineTuneSettings", "finetune"]
