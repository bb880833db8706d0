"""What this process must never show, and the only place where it is masked.

`remember` is told every secret that the process gets to know, as the configuration is read;
nothing is ever forgotten, so that a key stays masked after it was replaced. The other functions
mask these secrets, and whatever looks like a key of Google's or of this server, in what is about to
be shown.

The secrets are those of the process, like its standard error: whoever writes a line, a span or a
status needs no reference to the configuration to leave them out.
"""

from __future__ import annotations

from gemini_backend.masking.mask import Mask

__all__ = ["Mask", "data", "json_text", "often", "remember", "text", "value"]

_process = Mask()

remember = _process.remember
text = _process.text
often = _process.often
value = _process.value
data = _process.data
json_text = _process.json_text
