"""What is pinned, demanded and said about versions agrees."""

from __future__ import annotations

import tomllib
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from tests.repository.checkout import ROOT

from house import machine

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins() -> dict[str, Version]:
    """Return each pinned package and its version."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def closure(extra: str) -> set[str]:
    """Return the packages that the base package and an extra install on this machine."""
    found: set[str] = set()
    todo = [("maloca", extra)]
    while todo:
        name, wanted = todo.pop()
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is not None and not marker.evaluate({"extra": wanted}):
                continue
            dependency = canonicalize_name(requirement.name)
            if dependency not in found:
                found.add(dependency)
                todo += [(dependency, one) for one in requirement.extras or {""}]
    return found


def test_make_up_installs_no_torch() -> None:
    installed = closure("engine")
    assert {"fastapi", "openvino-genai", "openvino", "tokenizers"} <= installed
    assert not installed & {"torch", "transformers", "sentence-transformers"}


def test_everything_that_make_up_installs_is_pinned() -> None:
    assert closure("engine") <= set(pins())


def test_every_direct_dependency_is_pinned_within_its_bounds() -> None:
    extras = PROJECT["optional-dependencies"].values()
    pinned = pins()
    for line in (*PROJECT["dependencies"], *(one for extra in extras for one in extra)):
        requirement = Requirement(line)
        version = pinned[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, line


def test_the_set_up_asks_for_the_python_that_the_package_asks_for() -> None:
    assert PROJECT["requires-python"] == ">=" + ".".join(map(str, machine.PYTHON))


def test_the_page_says_which_node_it_needs() -> None:
    releases = machine.node_releases()
    assert releases
    assert all(minimum >= (20,) for _, minimum in releases)
