"""Hosts that the tests of this room share."""

import pytest


@pytest.fixture(scope="session")
def unet_pipeline():
    from tiny_hosts import tiny_unet_pipeline

    return tiny_unet_pipeline()


@pytest.fixture(scope="session")
def flow_pipeline():
    from tiny_hosts import tiny_flow_pipeline

    return tiny_flow_pipeline()


@pytest.fixture(scope="session", params=["unet", "flow"])
def host(request, unet_pipeline, flow_pipeline):
    from unsnarl.diffusion import Host

    return Host(unet_pipeline if request.param == "unet" else flow_pipeline)
