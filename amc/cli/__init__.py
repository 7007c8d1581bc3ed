"""Command-line shell of every command, and its configuration."""
