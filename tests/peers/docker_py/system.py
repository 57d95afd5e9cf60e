"""The node: ping, version, info, login, events, disk usage."""

import datetime
import json

from conftest import refused, until


def ping_answers_with_the_headers_clients_negotiate_by(node):
    """GET /_ping, HEAD /_ping"""
    assert node.client.ping() is True
    answer = node.api.head(node.api.base_url + "/_ping")
    assert answer.status_code == 200 and answer.content == b""
    assert answer.headers["Api-Version"] == "1.51"
    assert answer.headers["Ostype"] == "linux"
    assert answer.headers["Docker-Experimental"] == "false"
    assert answer.headers["Server"].startswith("proa/")
    assert "no-cache" in answer.headers["Cache-Control"]


def version_is_negotiated(node):
    """GET /version"""
    version = node.client.version()
    assert (version["ApiVersion"], version["MinAPIVersion"]) == ("1.51", "1.24")
    assert version["Os"] == "linux" and version["Components"]
    assert node.api.api_version == "1.44" or tuple(map(int, node.api.api_version.split("."))) <= (1, 51)
    # The first form needs no version in the path.
    assert node.api.version(api_version=False)["ApiVersion"] == "1.51"


def info_has_what_clients_read(node):
    """GET /info"""
    info = node.client.info()
    for name in ["ID", "Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped", "Images", "Driver",
                 "Plugins", "MemTotal", "NCPU", "Name", "OSType", "Architecture", "ServerVersion", "DockerRootDir",
                 "CgroupDriver", "CgroupVersion", "SecurityOptions", "Swarm", "DefaultRuntime", "Runtimes", "Labels"]:
        assert name in info, name
    assert info["Swarm"] is None or info["Swarm"]["LocalNodeState"] == "inactive"


def login_asks_the_registry(node):
    """POST /auth"""
    wrong = lambda: node.api._result(node.api._post_json(
        node.api._url("/auth"), data={"username": "nobody", "password": "x", "serveraddress": "127.0.0.1:1"}))
    assert "127.0.0.1:1" in refused(500, wrong)


def events_of_a_container_have_docker_s_names(guest):
    """GET /events"""
    since = int(datetime.datetime.now().timestamp())
    container = guest.create("exit", str(guest.code), labels={"a": "b"})
    container.start()
    assert container.wait()["StatusCode"] == guest.code
    container.remove()
    until_now = int(datetime.datetime.now().timestamp()) + 1
    filters = {"container": container.id, "type": ["container"]}
    seen = list(guest.client.events(since=since, until=until_now, filters=filters, decode=True))
    assert [event["Action"] for event in seen] == ["create", "start", "die", "destroy"], seen
    died = seen[2]
    assert died["Type"] == "container" and died["scope"] == "local" and died["timeNano"] > 0
    assert died["status"] == "die" and died["id"] == container.id and died["from"] == guest.probe
    attributes = died["Actor"]["Attributes"]
    assert attributes["exitCode"] == str(guest.code) and attributes["a"] == "b" and attributes["name"] == container.name


def events_are_followed_until_the_reader_goes(node):
    """GET /events"""
    stream = node.client.events(filters={"event": "create"}, decode=True)
    container = node.create("true")
    assert any(event["id"] == container.id for event in stream)
    stream.close()


def disk_usage_counts_each_kind(alone):
    """GET /system/df"""
    container = alone.create("sh", "-c", "echo something > /file")
    container.start()
    container.wait()
    alone.client.volumes.create("kept")
    usage = alone.client.df()
    assert usage["LayersSize"] > 0
    assert any(alone.busybox in (image["RepoTags"] or []) for image in usage["Images"]), usage["Images"]
    (counted,) = usage["Containers"]
    assert counted["Id"] == container.id and counted["SizeRw"] >= len("something\n")
    (volume,) = usage["Volumes"]
    assert volume["Name"] == "kept" and volume["UsageData"]["RefCount"] == 0
    assert usage["BuildCache"] in ([], None)


def errors_are_docker_s_words_and_codes(node):
    """GET /containers/{id}/json, GET /images/{name}/json, GET /volumes/{name}, GET /networks/{id}"""
    assert refused(404, lambda: node.api.inspect_container("nobody")) == "No such container: nobody"
    assert refused(404, lambda: node.api.inspect_image("nobody")) == "No such image: nobody:latest"
    assert "nobody" in refused(404, lambda: node.api.inspect_volume("nobody"))
    assert refused(404, lambda: node.api.inspect_network("nobody")) == "network nobody not found"
    assert refused(404, lambda: node.api.exec_inspect("nobody")) == "No such exec instance: nobody"
    assert refused(404, lambda: node.api._result(node.api._get(node.api._url("/nowhere")))) == "page not found"
    posted = lambda: node.api._result(node.api._post(node.api._url("/info")))
    assert refused(404, posted) == "page not found"
    broken = lambda: node.api._result(node.api._post(
        node.api._url("/containers/create"), data="{", headers={"Content-Type": "application/json"}))
    refused(400, broken)
    filters = lambda: node.client.containers.list(filters={"nothing": json.dumps(1)})
    assert refused(400, filters) == "invalid filter 'nothing'"
