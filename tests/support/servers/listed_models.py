"""A model API that lists what a test says, and a server in front of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc
from gemini.backend.v1 import metrics_service_pb2_grpc as metrics_rpc
from gemini.backend.v1 import model_service_pb2 as models
from gemini.backend.v1 import model_service_pb2_grpc as model_rpc
from tests.support.layers.inproc import collect
from tests.support.servers.conversations import Answerer, answering
from tests.support.servers.process import serving, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers.process import Process

FLASH, LITE, GONE = "gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-2.0-flash-exp"


def listed(name: str, **more: Any) -> dict[str, Any]:
    """Return a model as the model API lists it."""
    return {"name": f"models/{name}", "supportedGenerationMethods": ["generateContent"], **more}


@dataclass
class House:
    """A model API, a server in front of it, and stubs of the server."""

    api: Answerer
    server: Process
    execute: Any
    models: Any
    metrics: Any

    async def names(self, **fields: Any) -> list[str]:
        request = models.ListModelsRequest(page_size=1000, **fields)
        return [one.name[7:] for one in (await self.models.ListModels(request)).models]

    async def get(self, name: str) -> models.Model:
        found: models.Model = (await self.models.GetModel(models.GetModelRequest(name=name))).model
        return found

    async def validate(self, model: str, **fields: Any) -> models.ValidateModelResponse:
        request = models.ValidateModelRequest(model=model, **fields)
        verdict: models.ValidateModelResponse = await self.models.ValidateModel(request)
        return verdict

    async def ask(self, model: str, *, whole: bool = False, **fields: Any) -> list[Any]:
        """Return the events of an answer, or the whole answer alone."""
        if whole:
            return [
                await self.execute.Process(pb.ProcessRequest(prompt="x", model=model, **fields))
            ]
        request = pb.ExecuteRequest(prompt="x", model=model, **fields)
        return await collect(self.execute.Execute(request))


@asynccontextmanager
async def house(*names: str, **settings: str) -> AsyncIterator[House]:
    """Run a model API that lists these models, and a server that has read the list."""
    env = {f"GEMINI_BACKEND_{name}": value for name, value in settings.items()}
    async with answering() as api:
        api.models.extend(listed(name) for name in names)
        async with (
            serving(upstream_at(api.url, **env)) as server,
            grpc.aio.insecure_channel(server.grpc) as channel,
        ):
            made = House(
                api,
                server,
                execute_rpc.ExecuteServiceStub(channel),
                model_rpc.ModelServiceStub(channel),
                metrics_rpc.MetricsServiceStub(channel),
            )
            await made.names()
            yield made
