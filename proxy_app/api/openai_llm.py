"""/v1: which models there are, and what language models do.

The gateway finds a language model's server that can, and passes everything on.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from proxy_app.api.llm import pass_on
from proxy_app.api.models import CREATED, Model, models
from proxy_app.errors import ApiError
from proxy_app.gateway import current

bp = Blueprint("openai_llm", __name__, url_prefix="/v1")


@bp.post("/chat/completions")
def chat_completions() -> Response:
    """A language model goes on with a conversation."""
    return pass_on("/v1/chat/completions")


@bp.post("/completions")
def completions() -> Response:
    """A language model goes on with a text."""
    return pass_on("/v1/completions")


@bp.post("/embeddings")
def embeddings() -> Response:
    """A model makes vectors of texts."""
    return pass_on("/v1/embeddings")


@bp.post("/responses")
def responses() -> Response:
    """A language model answers, in OpenAI's newer way."""
    return pass_on("/v1/responses")


@bp.get("/models")
def list_models() -> Response:
    """The models that can be named, and where each goes."""
    return jsonify({"object": "list", "data": [_shown(model) for model in models(current())]})


@bp.get("/models/<path:model>")
def one_model(model: str) -> Response:
    """One model; its name may have slashes in it."""
    found = models(current())
    for one in found:
        if one.id == model:
            return jsonify(_shown(one))
    raise ApiError(
        f"The model {model[:200]!r} does not exist. There are: "
        f"{', '.join(one.id for one in found) or 'none'}.",
        status=404,
        code="model_not_found",
        param="model",
    )


def _shown(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": CREATED,
        "owned_by": model.owned_by,
        "served_by": list(model.served_by),
    }
