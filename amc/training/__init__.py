"""Training: recipes, the loop, regularisers, distillation, baselines."""
