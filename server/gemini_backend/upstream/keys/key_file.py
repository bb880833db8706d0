"""Keys in a file that others write: a secret that is mounted, or put there by hand."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.disk.private_files import UnusableFileError
from gemini_backend.disk.private_files import read as read_private
from gemini_backend.upstream.keys.key_lines import MAX_BYTES, keys_in
from gemini_backend.upstream.keys.known_key import KeyProblem, KeySource

if TYPE_CHECKING:
    from gemini_backend.upstream.keys.known_key import KnownKey

_NAME = "upstream.gemini.api_keys_file"

_log = logging.getLogger(__name__)


class KeyFile:
    """A file with a key per line, found anew by its path at each reading.

    So a link on the path may be swapped, as Kubernetes does. Methods block.
    """

    def __init__(self, path: str) -> None:
        """Read nothing yet."""
        self._path = Path(path).expanduser()
        self._warned = False

    def data(self) -> bytes:
        """Return what the file has now.

        Raises:
            KeyProblem: it cannot be read, or others may write it.
        """
        try:
            found = read_private(self._path, MAX_BYTES)
        except FileNotFoundError:
            msg = f"{_NAME} does not exist; set it to a file with a key on each line"
            raise KeyProblem(msg) from None
        except OSError as error:
            msg = (
                f"{_NAME} cannot be read ({error.strerror}); make it readable for the user of "
                "this server"
            )
            raise KeyProblem(msg) from None
        except UnusableFileError as error:
            msg = f"{_NAME} {error}"
            raise KeyProblem(msg) from None
        if found.others_write:
            msg = f"others may write {_NAME}; run `chmod 600` on it"
            raise KeyProblem(msg)
        if found.others_read and not self._warned:
            self._warned = True
            said = "others may read the file; run `chmod 600` on it"
            _log.warning("secret_file", extra={"setting": _NAME, "reason": said})
        return found.data

    def keys(self, data: bytes) -> list[KnownKey]:
        """Return the keys that are in what the file had.

        Raises:
            KeyProblem: it has something else.
        """
        return keys_in(data, KeySource.FILE, _NAME)
