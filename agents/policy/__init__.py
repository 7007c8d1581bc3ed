"""Learned policies: what they are, their files, and the checks of these."""
