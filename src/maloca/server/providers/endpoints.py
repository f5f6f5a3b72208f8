"""`/model`, and the providers' administration."""

from __future__ import annotations

from fastapi import APIRouter

from maloca.asgi.strict_json import StrictRoute
from maloca.dialects.fields import errors
from maloca.server.accounts.dependencies import AdminDep, CallerDep
from maloca.server.db.dependencies import DatabaseDep
from maloca.server.providers import service
from maloca.server.providers.dependencies import ProvidersDep
from maloca.server.providers.schemas import (
    ModelRead,
    ModelUpdate,
    ProvidersRead,
    ProvidersUpdate,
)

router = APIRouter(route_class=StrictRoute)


@router.get("/model", tags=["inference"], responses=errors(401, 403))
async def show_model(_: CallerDep, providers: ProvidersDep) -> ModelRead:
    """Tell which model answers, and how every provider of the chain is."""
    return ModelRead.of(providers)


@router.post("/model", tags=["inference"], responses=errors(401, 403, 404, 413, 422, 503, 504))
async def select_model(
    body: ModelUpdate, admin: AdminDep, database: DatabaseDep, providers: ProvidersDep
) -> ModelRead:
    """Choose the model, and the provider that is asked first, from the next request on."""
    name = await service.check_selection(providers, body)
    async with database.write() as session:
        await service.select_model(session, providers, name, body, by=admin)
    await providers.follow(database)
    return ModelRead.of(providers)


@router.get("/admin/api/providers", tags=["admin"], responses=errors(401, 403))
async def show_providers(_: AdminDep, providers: ProvidersDep) -> ProvidersRead:
    """Tell the chain, its models, and how every provider is."""
    return ProvidersRead.of(providers)


@router.put("/admin/api/providers", tags=["admin"], responses=errors(401, 403, 409, 413, 422))
async def change_providers(
    body: ProvidersUpdate, admin: AdminDep, database: DatabaseDep, providers: ProvidersDep
) -> ProvidersRead:
    """Change the chain, models or egress; every replica follows within a second."""
    async with database.write() as session:
        await service.change(session, body, by=admin)
    await providers.follow(database)
    return ProvidersRead.of(providers)
