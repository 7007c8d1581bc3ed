from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

# The source distribution has the tests and no experiments.
collect_ignore_glob = [] if (REPO / "experiments").is_dir() else ["test_*.py"]
