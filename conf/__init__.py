"""The configuration; an installed wheel has it as the package amc.conf, so that pkg://amc.conf finds it."""
