"""What files need of the disk: locks that end with their process, and names that last."""

from gemini_backend.disk.folders import sync_folder
from gemini_backend.disk.locks import locked

__all__ = ["locked", "sync_folder"]
