"""Search for the best plan of a network under a budget."""

from amc.search.result import SearchResult
from amc.search.run import search
from amc.task.settings import Settings

__all__ = ["SearchResult", "Settings", "search"]
