"""Whose fault a refusal is: known to be the key's or its project's, else the caller's."""

from __future__ import annotations

import pytest

from gemini_backend.errors import UpstreamReply
from gemini_backend.upstream.gemini.failure import blame
from gemini_backend.upstream.gemini.failure.blame import Blame
from gemini_backend.upstream.gemini.failure.error_body import ErrorBody

INFO = "type.googleapis.com/google.rpc.ErrorInfo"


def judged(status: int, words: str, reason: str = "") -> Blame:
    """Return who is to blame."""
    details = ({"@type": INFO, "reason": reason},) if reason else ()
    return blame.of(ErrorBody(UpstreamReply(status, message=words, details=details)), status)


@pytest.mark.parametrize(
    ("status", "words", "reason", "expected"),
    [
        (400, "x", "API_KEY_INVALID", Blame.KEY),
        (403, "x", "API_KEY_SERVICE_BLOCKED", Blame.KEY),
        (401, "x", "CREDENTIALS_MISSING", Blame.KEY),
        (403, "x", "SERVICE_DISABLED", Blame.PROJECT),
        (403, "x", "CONSUMER_SUSPENDED", Blame.PROJECT),
        (400, "x", "BILLING_DISABLED", Blame.PROJECT),
        (402, "x", "", Blame.PROJECT),
        (400, "API key not valid. Please pass a valid API key.", "", Blame.KEY),
        (400, "API Key not found. Please pass a valid API key.", "", Blame.KEY),
        (403, "Your API key was reported as leaked. Please use another.", "", Blame.KEY),
        (403, "Method doesn't allow unregistered callers", "", Blame.KEY),
        (403, "Requests from referer <empty> are blocked.", "", Blame.KEY),
        (403, "The provided API key has an IP address restriction.", "", Blame.KEY),
        (401, "Request had invalid authentication credentials.", "", Blame.KEY),
        (401, "no", "", Blame.KEY),
        (400, "User location is not supported for the API use.", "", Blame.PROJECT),
        (403, "Generative Language API has not been used in project 1 before", "", Blame.PROJECT),
        (403, "Permission denied: Consumer 'api_key:x' has been suspended.", "", Blame.PROJECT),
        (403, "Your project has been denied access.", "", Blame.PROJECT),
        (403, "You do not have permission to access the File abc", "", Blame.RESOURCE),
        (403, "CachedContent not found (or permission denied)", "", Blame.RESOURCE),
        (403, "You do not have permission to access tuned model tunedModels/x", "", Blame.RESOURCE),
        (403, "no access to the FileSearchStore x", "", Blame.RESOURCE),
        (401, "File x needs another project", "", Blame.RESOURCE),
        (403, "The caller does not have permission", "", Blame.NOBODY_KNOWN),
        (403, "x", "IAM_PERMISSION_DENIED", Blame.NOBODY_KNOWN),
        (400, "CachedContent cachedContents/old has expired.", "", Blame.OTHER),
        (404, "File x not found", "", Blame.OTHER),
        (500, "API key not valid", "", Blame.OTHER),
    ],
)
def test_each_refusal_is_somebodys(status: int, words: str, reason: str, expected: Blame) -> None:
    """Reasons first, then the sentences of keys and projects, then what a project owns."""
    assert expected is judged(status, words, reason)


@pytest.mark.parametrize(
    "quoted",
    [
        "* GenerateContentRequest.tools[0].parameters.properties[api key].items: missing field.",
        "Invalid value 'API key not valid' at 'contents[0]'",
        'Unknown name "user location is not supported": Cannot find field.',
        "Invalid argument: function 'your project has been suspended' is not a name",
    ],
)
def test_what_a_message_quotes_is_the_callers(quoted: str) -> None:
    """Only at its beginning is a sentence the model API's own."""
    assert Blame.OTHER is judged(400, quoted)


@pytest.mark.parametrize(
    ("model", "body", "refers"),
    [
        ("models/m", b'{"contents":[{"parts":[{"fileData":{"fileUri":"u"}}]}]}', True),
        ("models/m", b'{"cachedContent": "cachedContents/x"}', True),
        ("models/m", b'{"tools":[{"fileSearch":{"fileSearchStoreNames":["x"]}}]}', True),
        ("tunedModels/m", b"{}", True),
        ("models/m", b'{"contents":[{"parts":[{"text":"\\"fileUri\\": x"}]}]}', False),
        ("models/m", b"{}", False),
    ],
)
def test_a_request_refers_to_what_a_project_owns(model: str, body: bytes, refers: bool) -> None:
    """By its fields, not by its text."""
    assert refers is blame.refers_to_resource(model, body)
