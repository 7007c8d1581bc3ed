"""Run folders: episode log, checkpoints, TensorBoard."""

from amc.tracking.board import Board
from amc.tracking.episodes import EpisodeLog, read_episodes
from amc.tracking.event_file import EventFile
from amc.tracking.run_dir import RunDir, opened, run_folder

__all__ = ["Board", "EpisodeLog", "EventFile", "RunDir", "opened", "read_episodes", "run_folder"]
