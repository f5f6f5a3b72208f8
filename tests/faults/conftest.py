from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.conftest import LiveApp, serve
from tests.faults.clouds import Cloud, anthropic_cloud, openai_cloud

Served = tuple[Cloud, LiveApp]


@pytest.fixture(scope="session")
def served_openai() -> Iterator[Served]:
    cloud = openai_cloud()
    with serve(cloud.app) as live:
        yield cloud, live


@pytest.fixture(scope="session")
def served_anthropic() -> Iterator[Served]:
    cloud = anthropic_cloud()
    with serve(cloud.app) as live:
        yield cloud, live


def _fresh(served: Served) -> Served:
    cloud, live = served
    cloud.bodies.clear()
    cloud.headers.clear()
    cloud.paths.clear()
    cloud.script = None
    return cloud, live


@pytest.fixture
def openai_at(served_openai: Served) -> Served:
    return _fresh(served_openai)


@pytest.fixture
def anthropic_at(served_anthropic: Served) -> Served:
    return _fresh(served_anthropic)
