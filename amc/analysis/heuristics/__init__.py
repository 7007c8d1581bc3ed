"""Plans by rule of thumb, made of sensitivity curves."""
