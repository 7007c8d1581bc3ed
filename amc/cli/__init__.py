"""The shell around every command, and the configuration it takes."""
