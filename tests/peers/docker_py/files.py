"""The files of containers, and volumes."""

import docker
import pytest

from conftest import archive, refused, unpacked


def files_go_in_and_come_out(guest):
    """PUT /containers/{id}/archive, GET /containers/{id}/archive, HEAD /containers/{id}/archive"""
    # A Wasm guest's image is read-only to it, so files go where it can find them: into a volume.
    name = "copied-by-" + guest.isolation
    container = guest.create("read", "/data/given", volumes={name: {"bind": "/data"}})
    assert container.put_archive("/data", archive({"given": b"content"}))
    pieces, stat = container.get_archive("/data/given")
    assert stat["name"] == "given" and stat["size"] == 7 and stat["linkTarget"] == ""
    with unpacked(pieces) as tar:
        assert tar.getnames() == ["given"] and tar.extractfile("given").read() == b"content"
    head = guest.api.head(guest.api._url("/containers/{0}/archive", container.id), params={"path": "/data/given"})
    assert head.status_code == 200 and head.headers["X-Docker-Container-Path-Stat"]
    container.start()
    container.wait()
    assert container.logs() == b"content"
    assert "no/such" in refused(404, lambda: container.get_archive("/data/no/such"))
    if not guest.isolation.startswith("wasm"):
        assert refused(404, lambda: container.put_archive("/data/no/such", archive({"a": b""})))
    container.remove()
    guest.client.volumes.get(name).remove()


def a_folder_comes_out_whole(node):
    """GET /containers/{id}/archive"""
    container = node.create("sh", "-c", "mkdir -p /d/e; echo 1 > /d/e/f; ln -s f /d/e/l")
    container.start()
    container.wait()
    pieces, stat = container.get_archive("/d")
    assert stat["mode"] & (1 << 31)
    with unpacked(pieces) as tar:
        assert set(tar.getnames()) == {"d", "d/e", "d/e/f", "d/e/l"}
        assert tar.getmember("d/e/l").linkname == "f"


def changes_are_listed(node):
    """GET /containers/{id}/changes"""
    container = node.create("sh", "-c", "echo 1 > /new; echo x >> /etc/group; rm /etc/passwd")
    container.start()
    container.wait()
    changes = {change["Path"]: change["Kind"] for change in container.diff()}
    assert changes == {"/new": 1, "/etc": 0, "/etc/group": 0, "/etc/passwd": 2}
    assert not node.create("true").diff()


def export_is_the_whole_root(node):
    """GET /containers/{id}/export"""
    container = node.create("sh", "-c", "echo kept > /kept")
    container.start()
    container.wait()
    with unpacked(container.export()) as tar:
        assert tar.extractfile("kept").read() == b"kept\n"
        assert "bin/busybox" in tar.getnames()


def commit_makes_an_image(node):
    """POST /commit"""
    container = node.create("sh", "-c", "echo kept > /kept", name="committed")
    container.start()
    container.wait()
    image = container.commit("made/by-commit", "1", message="why", author="who",
                             changes=["ENV A=b", 'CMD ["cat", "/kept"]'])
    try:
        assert image.tags == ["made/by-commit:1"]
        assert image.attrs["Comment"] == "why" and image.attrs["Author"] == "who"
        assert "A=b" in image.attrs["Config"]["Env"]
        run = node.client.containers.run("made/by-commit:1", remove=True, isolation=node.isolation)
        assert run == b"kept\n"
    finally:
        node.client.images.remove(image.id, force=True)


def volumes_are_made_listed_and_removed(node):
    """POST /volumes/create, GET /volumes, GET /volumes/{name}, DELETE /volumes/{name}"""
    volume = node.client.volumes.create("ours", labels={"a": "b"})
    try:
        assert volume.name == "ours" and volume.attrs["Driver"] == "local" and volume.attrs["Scope"] == "local"
        assert volume.attrs["Labels"] == {"a": "b"} and volume.attrs["Mountpoint"]
        assert node.client.volumes.create("ours").attrs["CreatedAt"] == volume.attrs["CreatedAt"]
        assert node.client.volumes.get("ours").id == "ours"
        assert [found.name for found in node.client.volumes.list(filters={"name": "ours"})] == ["ours"]
        assert node.client.volumes.list(filters={"label": "a=c"}) == []
        user = node.create("true", volumes={"ours": {"bind": "/data", "mode": "rw"}})
        assert "in use" in refused(409, volume.remove)
        assert user.id in refused(409, volume.remove)
        user.remove()
    finally:
        volume.remove(force=True)
    assert refused(404, lambda: node.client.volumes.get("ours")) == "get ours: no such volume"
    with pytest.raises(docker.errors.APIError):
        node.client.volumes.create("with/slash")


def a_volume_keeps_what_was_written(guest):
    """POST /containers/create"""
    name = "kept-by-" + guest.isolation
    guest.client.volumes.create(name)
    try:
        mount = docker.types.Mount("/data", name, type="volume")
        run = lambda *command: guest.client.containers.run(
            guest.probe, list(command), mounts=[mount], isolation=guest.isolation, remove=True)
        run("write", "/data/file", "content")
        assert run("read", "/data/file") == b"content"
    finally:
        guest.client.volumes.get(name).remove(force=True)


def prune_takes_volumes_nobody_uses(alone):
    """POST /volumes/prune"""
    alone.client.volumes.create("named")
    alone.client.volumes.create("used")
    alone.create("true", volumes={"used": {"bind": "/data"}})
    anonymous = alone.client.volumes.create()
    # Docker's rule: without `all`, only volumes without a name.
    assert alone.client.volumes.prune()["VolumesDeleted"] == [anonymous.name]
    assert alone.client.volumes.prune(filters={"all": ["true"]})["VolumesDeleted"] == ["named"]
    assert [volume.name for volume in alone.client.volumes.list()] == ["used"]
