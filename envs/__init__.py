"""Gymnasium environments. Importing this package registers ``amc/ChannelPruning-v0``."""

import gymnasium as gym

CHANNEL_PRUNING = "amc/ChannelPruning-v0"

gym.register(id=CHANNEL_PRUNING, entry_point="envs.channel_pruning:ChannelPruningEnv")
