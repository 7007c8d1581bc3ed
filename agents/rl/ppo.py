"""PPO (Schulman et al. 2017): on-policy; learns from rollouts of several whole episodes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.rl.learning import LearningAgent, Weights
from agents.rl.rollout import EpisodesRolloutBuffer
from agents.settings import NetworkSettings, require
from agents.streams import TorchStream, one_thread


@dataclass(frozen=True)
class PPOSettings(NetworkSettings):
    """Settings of PPO; discount and λ are 1, as the last reward is what every step is for.

    Attributes:
        learning_rate: of Adam, for actor and critic.
        rollout_episodes: episodes played with the same policy before it is updated.
        batch_episodes: a minibatch has as many steps as this many episodes; divides ``rollout_episodes``.
        epochs: passes over a rollout.
        clip_range: how far the probability of an action may move in an update, as a fraction.
        sigma: the policy's standard deviation at first, on the action's [0, 1]; it is learnt.
        ent_coef: weight of the policy's entropy.
        value_coef: weight of the critic's loss.
        max_grad_norm: longer gradients are cut to this length.
    """

    learning_rate: float = 1e-3
    rollout_episodes: int = 8
    batch_episodes: int = 2
    epochs: int = 10
    clip_range: float = 0.2
    sigma: float = 0.2
    ent_coef: float = 0.0
    value_coef: float = 0.5
    max_grad_norm: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("learning_rate", "clip_range", "sigma", "max_grad_norm")
        self._require_at_least(1, "epochs")
        self._require_at_least(2, "rollout_episodes", "batch_episodes")  # advantages are normalised in a batch
        self._require_at_least(0, "ent_coef", "value_coef")
        divides = self.rollout_episodes % self.batch_episodes == 0
        require(
            "batch_episodes", self.batch_episodes, divides, f"that divides rollout_episodes={self.rollout_episodes}"
        )


class UnitPolicy(ActorCriticPolicy):
    """SB3's policy with a normal distribution whose mean a tanh keeps in [0, 1]; the environment gets it clipped.

    The clipping belongs to the environment: probabilities are those of the unclipped action, so the gradient is exact,
    and 0 and 1, which keep least and all of a layer, are played with some probability (truncated or squashed
    distributions give them none). Without the tanh the mean could drift outside, where every action is clipped to the
    same one and nothing is left to learn from.
    """

    stream: TorchStream

    def forward(
        self, obs: torch.Tensor, deterministic: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        with self.stream.running(), one_thread():
            return super().forward(obs, deterministic)

    def _get_action_dist_from_latent(self, latent_pi: torch.Tensor) -> Distribution:
        assert isinstance(self.action_dist, DiagGaussianDistribution)
        mean = (torch.tanh(self.action_net(latent_pi)) + 1) / 2
        return self.action_dist.proba_distribution(mean, self.log_std)


class EpisodicPPO(PPO):
    """Delta on SB3's PPO: ``learn()`` plays one episode; the update comes when the rollout has all its episodes.

    Nothing reads or moves the global random states, see :class:`UnitPolicy` and :class:`EpisodesRolloutBuffer`.
    """

    episode: RolloutBuffer
    stream: TorchStream
    rollout_buffer: EpisodesRolloutBuffer

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        goes_on = super().collect_rollouts(env, callback, self.episode, self.episode.buffer_size)
        self.rollout_buffer.append(self.episode)
        self._episode_num += 1
        return goes_on

    def train(self) -> None:
        if self.rollout_buffer.full:
            with self.stream.running(), one_thread():
                super().train()
            self.rollout_buffer.reset()


class PPOAgent(LearningAgent):
    """PPO in DDPG's place; it needs no warm-up and no replay buffer."""

    name = "ppo"
    settings_type = PPOSettings
    losses = {  # noqa: RUF012
        "actor_loss": "train/policy_gradient_loss",
        "critic_loss": "train/value_loss",
        "approx_kl": "train/approx_kl",
        "clip_fraction": "train/clip_fraction",
    }
    settings: PPOSettings
    _model: EpisodicPPO

    def _build(self, env: DummyVecEnv, steps: int) -> EpisodicPPO:
        s = self.settings
        model = EpisodicPPO(
            UnitPolicy,
            env,
            learning_rate=s.learning_rate,
            n_steps=s.rollout_episodes * steps,
            batch_size=s.batch_episodes * steps,
            n_epochs=s.epochs,
            gamma=1.0,
            gae_lambda=1.0,
            clip_range=s.clip_range,
            ent_coef=s.ent_coef,
            vf_coef=s.value_coef,
            max_grad_norm=s.max_grad_norm,
            rollout_buffer_class=EpisodesRolloutBuffer,
            rollout_buffer_kwargs={"rng": self._rng},
            policy_kwargs={
                "net_arch": list(s.hidden),
                "activation_fn": torch.nn.ReLU,
                "log_std_init": math.log(s.sigma),
                "optimizer_kwargs": {"eps": 1e-5, "fused": True},  # SB3's own ε
            },
            device="cpu",
        )
        model.episode = RolloutBuffer(
            steps, model.observation_space, model.action_space, "cpu", gae_lambda=1.0, gamma=1.0
        )
        model.stream = self._stream
        assert isinstance(model.policy, UnitPolicy)
        model.policy.stream = self._stream
        return model

    @property
    def _buffer(self) -> EpisodesRolloutBuffer:
        return self._model.rollout_buffer

    def _scalars_before(self) -> dict[str, float]:
        assert isinstance(self._model.policy.log_std, torch.Tensor)
        return {"sigma": self._model.policy.log_std.exp().item()}

    def _weights(self) -> tuple[Weights, Weights]:
        weights = self._model.policy.state_dict()
        critic = {name: value for name, value in weights.items() if _of_critic(name)}
        return {name: value for name, value in weights.items() if name not in critic}, critic

    def _load_weights(self, actor: Weights, critic: Weights) -> None:
        self._model.policy.load_state_dict({**actor, **critic})

    def _actor_layers(self) -> list[str]:
        layers = self._model.policy.named_modules()
        return [name for name, layer in layers if isinstance(layer, torch.nn.Linear) and not _of_critic(name)]


def _of_critic(name: str) -> bool:
    """Whether a part of SB3's policy is the critic's; all others are the actor's."""
    return "value_net" in name.split(".")
