"""What is known of models, and what is done about those that are gone or cannot do something."""

from __future__ import annotations

from typing import Annotated, Literal

from gemini_backend.config.about import Options, about


class ModelsOptions(Options, frozen=True):
    """The model registry."""

    catalogue_file: Annotated[
        str,
        about(
            "TOML file in the format of the built-in catalogue; its models replace those of the "
            "same name or are added. Empty for none."
        ),
    ] = ""
    gone: Annotated[
        Literal["refuse", "replace", "send"],
        about(
            "Handling of a request for a model that has been shut down and that upstream does not "
            "list: it is refused with the name of the replacement, goes to the replacement with a "
            "warning, or is sent anyway.",
            live=True,
        ),
    ] = "refuse"
    check_capabilities: Annotated[
        bool,
        about(
            "Refuses a request for something that the model cannot do, according to the "
            "catalogue, before it is sent.",
            live=True,
        ),
    ] = True
