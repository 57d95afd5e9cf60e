"""What the cases share: a client of the node under test, and containers that go away with the case.

A case is a function of one fixture: `node` runs native programs on a node that cases share, `alone` the same on a node
of its own, `guest` the probe under each isolation there is. Its first line names the routes it is for.
"""

import io
import os
import tarfile
import time

import docker
import pytest

PATIENCE = 30


class Node:
    """A node, seen through docker-py."""

    def __init__(self):
        self.client = docker.from_env(timeout=60)
        self.api = self.client.api
        self.busybox = os.environ["PROA_TEST_BUSYBOX"]
        self.probe = os.environ["PROA_TEST_PROBE"]
        self.registry = os.environ.get("PROA_TEST_REGISTRY", "")
        self.isolation = os.environ["PROA_TEST_ISOLATION"]
        # A component says no more than that it failed.
        self.code = 1 if self.isolation.startswith("wasm") else 7
        self.containers = []

    def create(self, *command, image=None, **options):
        """A container that was not started."""
        image = image or self.busybox
        made = self.client.containers.create(image, list(command), isolation=self.isolation, **options)
        self.containers.append(made)
        return made

    def start(self, *command, **options):
        """A container that runs."""
        made = self.create(*command, **options)
        made.start()
        made.reload()
        return made

    def sleeper(self, **options):
        """One that runs until it is told otherwise."""
        return self.start("sleep", "1000", init=True, **options)

    def close(self):
        for container in self.containers:
            try:
                container.remove(force=True, v=True)
            except docker.errors.NotFound:
                pass
        self.client.close()


@pytest.fixture
def node():
    made = Node()
    yield made
    made.close()


@pytest.fixture
def alone(node):
    return node


@pytest.fixture
def guest(node):
    node.busybox = node.probe
    return node


def until(fact, holds):
    """Waits until `holds()` gives something, and gives that."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain until {fact}")


def archive(files):
    """A tar archive of `files`, contents by name."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def unpacked(pieces):
    """The archive in `pieces`, open."""
    return tarfile.open(fileobj=io.BytesIO(b"".join(pieces)))


def refused(status, call):
    """The words with which `call` is refused with `status`; they are one sentence in Docker's form."""
    with pytest.raises(docker.errors.APIError) as caught:
        call()
    error = caught.value
    assert error.status_code == status, error
    assert error.response.headers["Content-Type"] == "application/json"
    said = error.response.json()
    assert list(said) == ["message"] and said["message"] == error.explanation, said
    assert "\n" not in said["message"].split("\nhint:")[0], said
    return said["message"]
