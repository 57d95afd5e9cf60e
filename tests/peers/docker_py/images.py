"""Images: here, from and to registries, from and to archives."""

import docker
import pytest

from conftest import archive, refused, unpacked


def images_are_listed_and_read(node):
    """GET /images/json, GET /images/{name}/json, GET /images/{name}/history"""
    image = node.client.images.get(node.busybox)
    assert image.id.startswith("sha256:") and node.busybox in image.tags
    assert image.attrs["Os"] == "linux" and image.attrs["Architecture"] == "amd64" and image.attrs["Size"] > 0
    assert image.attrs["RootFS"]["Type"] == "layers" and image.attrs["Config"]["Cmd"] == ["/bin/sh"]
    listed = node.client.images.list(name="busybox")
    assert [found.id for found in listed] == [image.id]
    assert node.client.images.list(filters={"reference": "no-such"}) == []
    assert image.id in [found["Id"] for found in node.api.images(filters={"dangling": False})]
    # Short ids and ids without the algorithm name it too.
    assert node.client.images.get(image.short_id).id == image.id
    assert node.client.images.get(image.id.removeprefix("sha256:")[:12]).id == image.id
    for step in image.history():
        assert set(step) == {"Id", "Created", "CreatedBy", "Tags", "Size", "Comment"}, step


def tags_come_and_go(node):
    """POST /images/{name}/tag, DELETE /images/{name}"""
    image = node.client.images.get(node.busybox)
    assert image.tag("by/docker-py", "1.0")
    assert "by/docker-py:1.0" in node.client.images.get(node.busybox).tags
    assert node.api.remove_image("by/docker-py:1.0") == [{"Untagged": "by/docker-py:1.0"}]
    assert refused(404, lambda: node.client.images.get("by/docker-py:1.0")) == "No such image: by/docker-py:1.0"
    assert "invalid reference format" in refused(400, lambda: image.tag("BAD NAME"))
    assert refused(404, lambda: node.api.tag("nobody", "x")) == "No such image: nobody:latest"


def an_image_in_use_is_kept(alone):
    """DELETE /images/{name}"""
    container = alone.create("true")
    assert container.id[:12] in refused(409, lambda: alone.client.images.remove(alone.busybox))
    container.remove()
    removed = alone.api.remove_image(alone.busybox)
    assert removed[0] == {"Untagged": alone.busybox} and "Deleted" in removed[-1]


def a_push_and_a_pull_by_a_registry(alone):
    """POST /images/{name}/push, POST /images/create"""
    remote = alone.registry + "/by/docker-py"
    alone.client.images.get(alone.busybox).tag(remote, "1")
    said = list(alone.client.images.push(remote, "1", stream=True, decode=True))
    assert not [line for line in said if "error" in line], said
    (pushed,) = [line["aux"] for line in said if "aux" in line]
    assert pushed["Tag"] == "1" and pushed["Digest"].startswith("sha256:")
    alone.client.images.remove(remote + ":1")
    alone.client.images.remove(alone.busybox)
    told = list(alone.api.pull(remote, "1", stream=True, decode=True))
    # docker-py's own callers read `status` of each.
    assert all("status" in line for line in told), told
    assert told[0] == {"status": "Pulling from by/docker-py", "id": "1"}
    assert told[-2]["status"] == "Digest: " + pushed["Digest"]
    assert told[-1]["status"] == f"Status: Downloaded newer image for {remote}:1"
    image = alone.client.images.pull(remote, "1")
    assert image.tags == [remote + ":1"]
    assert image.attrs["RepoDigests"] == [remote + "@" + pushed["Digest"]]
    try:
        alone.client.images.pull(remote, "none")
        raise AssertionError("there is no such tag")
    except docker.errors.NotFound as error:
        assert "none" in str(error)


def a_registry_is_asked_what_a_name_points_at(alone):
    """GET /distribution/{name}/json"""
    remote = alone.registry + "/looked/at"
    alone.client.images.get(alone.busybox).tag(remote, "1")
    alone.client.images.push(remote, "1")
    data = alone.client.images.get_registry_data(remote + ":1")
    assert data.id.startswith("sha256:") and data.attrs["Descriptor"]["size"] > 0
    assert data.has_platform("linux/amd64") and not data.has_platform("linux/s390x")


def save_and_load_give_the_same_image(alone):
    """GET /images/{name}/get, GET /images/get, POST /images/load"""
    image = alone.client.images.get(alone.busybox)
    image.tag("second", "2")
    saved = b"".join(image.save(named=True))
    with unpacked([saved]) as tar:
        names = tar.getnames()
        assert "manifest.json" in names and "index.json" in names and "oci-layout" in names
    named = {"names": [alone.busybox, "second:2"]}
    both = alone.api.get(alone.api._url("/images/get"), params=named).content
    alone.client.images.remove("second:2")
    alone.client.images.remove(alone.busybox)
    (loaded,) = alone.client.images.load(saved)
    assert loaded.id == image.id and loaded.tags == [alone.busybox]
    alone.client.images.load(both)
    assert sorted(alone.client.images.get(image.id).tags) == sorted([alone.busybox, "second:2"])
    # What is no archive is refused in the stream, which docker-py makes an error of its own.
    with pytest.raises(docker.errors.ImageLoadError):
        alone.client.images.load(b"this is no archive, whatever it says" * 40)


def an_archive_of_files_becomes_an_image(node):
    """POST /images/create"""
    said = node.api.import_image_from_data(archive({"file": b"x"}), repository="imported", tag="1")
    assert "sha256:" in said, said
    try:
        image = node.client.images.get("imported:1")
        assert image.attrs["RootFS"]["Layers"] and image.attrs["Os"] == "linux"
        assert image.attrs["Comment"]
    finally:
        node.client.images.remove("imported:1")


def prune_takes_images_without_names(alone):
    """POST /images/prune"""
    first = alone.api.import_image_from_data(archive({"a": b"1"}), repository="moved", tag="1")
    alone.api.import_image_from_data(archive({"a": b"2"}), repository="moved", tag="1")
    assert "sha256:" in first
    (dangling,) = alone.api.images(filters={"dangling": True})
    pruned = alone.client.images.prune()
    assert {"Deleted": dangling["Id"]} in pruned["ImagesDeleted"] and pruned["SpaceReclaimed"] > 0
    assert alone.client.images.get(alone.busybox)
    user = alone.create("true")
    pruned = alone.client.images.prune(filters={"dangling": False})
    assert {"Untagged": "moved:1"} in pruned["ImagesDeleted"]
    assert alone.client.images.get(alone.busybox).id == user.image.id


def short_names_are_docker_s(node):
    """POST /images/create"""
    # Nothing but docker.io may be asked for a name without a registry: here it cannot be reached, and says so.
    said = refused_anyhow(lambda: node.client.images.pull("no-such-image-of-ours", "1"))
    assert "docker.io" in said, said


def refused_anyhow(call):
    try:
        call()
    except docker.errors.APIError as error:
        return str(error)
    raise AssertionError("it was not refused")
