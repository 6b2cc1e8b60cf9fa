"""Words for what goes wrong between here and the Hugging Face hub."""

from __future__ import annotations


class ModelError(Exception):
    """A model cannot be had; the message says why and what to do, and may be shown."""


def explain(error: Exception, model: str, otherwise: str) -> ModelError:
    """Turn an exception of huggingface_hub into a sentence.

    Args:
        error: what the hub's library raised. Its classes are told by name, because their place
            has moved between its versions.
        model: the id that was asked for.
        otherwise: what a person without the hub can do instead.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    page = f"https://huggingface.co/{model}"
    if "GatedRepoError" in kinds:
        return ModelError(
            f"{model} is gated: accept its conditions at {page} with the account of HF_TOKEN "
            "(speaker-diarization-3.1 also needs those of segmentation-3.0 and "
            "speaker-diarization-community-1)"
        )
    if "RepositoryNotFoundError" in kinds:
        return ModelError(f"{page} does not exist, or HF_TOKEN may not read it")
    if kinds & {"LocalEntryNotFoundError", "HfHubHTTPError", "HTTPError", "OSError"}:
        return ModelError(
            f"{model} is not in the local cache and the hub cannot be reached: check the network, "
            f"or {otherwise}"
        )
    return ModelError(f"{model} cannot be loaded: {type(error).__name__}: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """The beginning of an exception's text, short enough for a status."""
    return (str(error).strip().splitlines() or [""])[0][:300]
