"""Learned policies, their files and the checks of these."""
