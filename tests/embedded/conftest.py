"""Clusters for the tests of the embedded server."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.clusters import is_stopped, stop_orphan
from tests.support.clusters import copy_migrated_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cluster")
    copy_migrated_cluster(place)
    return place


@pytest.fixture
def directory(cluster: Path) -> Iterator[Path]:
    """A directory with a cluster and no server, shared with other tests: creating one takes a second."""
    yield cluster
    if not is_stopped(cluster):
        stop_orphan(cluster)


@pytest.fixture
def own_directory(tmp_path: Path, cluster: Path) -> Path:
    """The same for a test that damages it."""
    shutil.copytree(cluster / "data", tmp_path / "postgres" / "data")
    return tmp_path / "postgres"
