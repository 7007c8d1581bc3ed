"""What a run leaves behind: its folder, a row per episode, checkpoints, TensorBoard."""

from amc.tracking.board import Board
from amc.tracking.episodes import EpisodeLog, read_episodes
from amc.tracking.run_dir import RunDir

__all__ = ["Board", "EpisodeLog", "RunDir", "read_episodes"]
