"""The embedded sample, rendered once for all tests of recipes."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def sample_cache(tmp_path_factory):
    """A cache folder of this session, so that tests neither read nor write the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKEMIA_TF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
