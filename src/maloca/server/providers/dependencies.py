"""The providers, as routes receive them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from maloca.server.providers.house import Providers


async def _providers(request: Request) -> Providers:
    providers: Providers = request.state.providers
    return providers


ProvidersDep = Annotated[Providers, Depends(_providers)]
