"""Where answers come from."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from gemini_backend.config.about import DAY_SECONDS, Options, about, named
from gemini_backend.config.errors import ConfigError
from gemini_backend.config.secret import Secret
from gemini_backend.sizes import MIB

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class GeminiOptions(Options, frozen=True):
    """The Gemini API."""

    base_url: Annotated[str, about("Address of the API, without its version.")] = (
        "https://generativelanguage.googleapis.com"
    )
    api_version: Annotated[
        str,
        named(
            "Version of the API; `-latest` aliases exist on `v1beta` only.",
            r"^v[0-9][a-z0-9]{0,15}\Z",
        ),
    ] = "v1beta"
    api_keys: Annotated[
        tuple[Secret, ...],
        about(
            "API keys, sent only in a header and never shown; by default those of "
            "`GEMINI_API_KEY`, separated by commas or line ends. A byte order mark, blanks, line "
            "ends and quotes around a key are removed."
        ),
    ] = ()
    key_projects: Annotated[
        tuple[str, ...],
        about(
            "Projects that the keys belong to, one name per key in the same order; keys of one "
            "project share its quota. Empty: each key counts as a separate project."
        ),
    ] = ()
    api_keys_file: Annotated[
        str,
        about(
            "File with further API keys, one per line, each after the name of its project and a "
            "blank if it has one; lines that begin with `#` are comments. It is read again within "
            "5 s of a change, also if a link on its path is changed."
        ),
    ] = ""
    api_keys_command: Annotated[
        tuple[str, ...],
        about(
            "Program, by its path, and its arguments, which prints further API keys as "
            "`api_keys_file` has them; no shell is used. It runs at the start and every "
            "`api_keys_refresh_seconds`, for at most 30 s, and prints at most 1 MiB."
        ),
    ] = ()
    api_keys_refresh_seconds: Annotated[
        float, about("Interval at which `api_keys_command` runs.", ge=1, le=DAY_SECONDS)
    ] = 300.0
    invalid_key_seconds: Annotated[
        float,
        about(
            "Time for which a refused key is not used while other keys are available.",
            live=True,
            ge=1,
            le=DAY_SECONDS,
        ),
    ] = 300.0
    max_connections: Annotated[
        int,
        about(
            "Maximum number of connections; calls beyond it wait for a free one; 0 for no limit.",
            ge=0,
            le=100_000,
        ),
    ] = 4096
    keepalive_seconds: Annotated[
        float, about("Time for which an idle connection is kept open.", ge=0, le=3600)
    ] = 60.0
    settle_ms: Annotated[
        float,
        about(
            "Time for which a connection stays reserved after an answer. In HTTP/1.1 only the "
            "order shows which request an answer belongs to, so data that arrives in that time, "
            "or later on the idle connection, closes it; 0 makes connections reusable "
            "immediately.",
            ge=0,
            le=10_000,
        ),
    ] = 100.0
    tcp_keepalive_time_seconds: Annotated[
        float,
        about(
            "Idle time after which TCP keepalive probes are sent on a connection; 0 for never.",
            ge=0,
            le=7200,
        ),
    ] = 30.0
    tcp_keepalive_timeout_seconds: Annotated[
        float,
        about(
            "Time within which a TCP keepalive probe must be answered; after it the connection is "
            "closed. Sent data that is not acknowledged closes it after the sum of both times.",
            ge=1,
            le=3600,
        ),
    ] = 30.0
    proxy_url: Annotated[
        Secret,
        about(
            "HTTP proxy for connections to the API, `http://HOST:PORT`, with `USER:PASSWORD@` "
            "before HOST if it requires them; `none` for no proxy. Empty: the proxy given by "
            "`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`."
        ),
    ] = Secret("")
    ca_file: Annotated[
        str,
        about(
            "PEM file with the certificates of the authorities to trust instead of the system's; "
            "empty for the system's, or those of `SSL_CERT_FILE`."
        ),
    ] = ""
    connect_timeout_seconds: Annotated[
        float, about("Timeout for opening a connection, TLS included.", gt=0, le=600)
    ] = 5.0
    max_event_bytes: Annotated[
        int,
        about(
            "Maximum size of a stream event; a larger one fails the execution.",
            ge=1024,
            le=1024 * MIB,
        ),
    ] = 64 * MIB
    max_body_bytes: Annotated[
        int,
        about(
            "Maximum size of a body that is not a stream; a larger one fails the execution.",
            ge=1024,
            le=1024 * MIB,
        ),
    ] = 64 * MIB
    models_refresh_seconds: Annotated[
        float, about("Interval at which the list of models is refreshed.", ge=1, le=DAY_SECONDS)
    ] = 300.0

    def _check(self) -> None:
        """Refuse an address that is none, or that carries a version, a query or a key.

        Raises:
            ConfigError: it is so.
        """
        try:
            parts = urlsplit(self.base_url)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname)
            bare = not (parts.query or parts.fragment or parts.username or parts.password)
            port_fits = parts.port is None or parts.port > 0
        except ValueError:
            good = bare = port_fits = False
        if not (good and bare and port_fits):
            msg = (
                "upstream.gemini.base_url must be like https://HOST or http://HOST:PORT, without "
                "user, query or key; put the version into upstream.gemini.api_version"
            )
            raise ConfigError.at(msg, "upstream.gemini.base_url")
        self._check_projects()
        for index, key in enumerate(self.api_keys):
            text = key.reveal()
            if not text.isascii() or not text.isprintable() or not text or set(" ,") & set(text):
                msg = (
                    f"upstream.gemini.api_keys[{index}] is empty or contains spaces, commas or "
                    "characters that are not allowed in a header; paste the key as Google shows it"
                )
                raise ConfigError.at(msg, "upstream.gemini.api_keys")

    def _check_projects(self) -> None:
        """Refuse names of projects that are none, or that are not one a key.

        Raises:
            ConfigError: they are so.
        """
        where = "upstream.gemini.key_projects"
        if self.key_projects and len(self.key_projects) != len(self.api_keys):
            msg = (
                f"{where} has {len(self.key_projects)} names for {len(self.api_keys)} keys; give "
                "one name per key, in the same order, or none"
            )
            raise ConfigError.at(msg, where)
        for name in self.key_projects:
            if not _PROJECT.fullmatch(name):
                msg = (
                    f"{where}: {name[:70]!r} is not a valid name; use up to 63 letters, "
                    "digits, . _ -"
                )
                raise ConfigError.at(msg, where)


class SimulatorOptions(Options, frozen=True):
    """The built-in simulator of the Gemini API."""

    script: Annotated[str, about("File with scripted answers and faults; empty for none.")] = ""
    engine: Annotated[
        Literal["echo", "smollm2"],
        about("Engine that generates the text; `smollm2` needs the extra `local-model`."),
    ] = "echo"


class UpstreamOptions(Options, frozen=True):
    """Selection of the upstream, and the options of each."""

    provider: Annotated[
        Literal["gemini", "simulator"],
        about(
            "Upstream that generates answers. If it is not set and there is no key, the simulator "
            "is used; `gemini` without a key is refused at the start."
        ),
    ] = "gemini"
    http_client: Annotated[
        Literal["asyncio", "aiohttp"],
        about(
            "Client that calls the API: `asyncio` for the built-in HTTP/1.1 client, `aiohttp` for "
            "the library, which costs more CPU time per call."
        ),
    ] = "asyncio"
    gemini: GeminiOptions = GeminiOptions()
    simulator: SimulatorOptions = SimulatorOptions()
