"""What is known of models, and what is done about those that are gone or cannot do something."""

from __future__ import annotations

from typing import Annotated, Literal

from gemini_backend.config.about import Options, about


class ModelsOptions(Options, frozen=True):
    """The registry of models."""

    catalogue_file: Annotated[
        str,
        about(
            "TOML file in the form of the built-in catalogue; its models stand in place of those "
            "of the same name there, or beside them. Empty for none."
        ),
    ] = ""
    gone: Annotated[
        Literal["refuse", "replace", "send"],
        about(
            "What becomes of a request for a model that has been shut down, and that upstream does "
            "not list: it is refused with the name of its replacement, goes to the replacement "
            "with a warning, or is sent all the same.",
            live=True,
        ),
    ] = "refuse"
    check_capabilities: Annotated[
        bool,
        about(
            "Whether a request that asks a model for what the catalogue says it cannot do is "
            "refused before it is sent.",
            live=True,
        ),
    ] = True
