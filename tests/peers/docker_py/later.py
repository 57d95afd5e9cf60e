"""What Docker has and proa does not have yet: each route answers 501 with one sentence, and lists and prunes whose
subject cannot exist answer that there is none."""

from conftest import refused

LATER = [
    ("post", "/build"), ("post", "/session"), ("post", "/grpc"),
    ("get", "/plugins"), ("get", "/plugins/privileges"), ("post", "/plugins/pull"), ("post", "/plugins/create"),
    ("get", "/plugins/x/json"), ("delete", "/plugins/x"), ("post", "/plugins/x/enable"),
    ("post", "/plugins/x/disable"), ("post", "/plugins/x/upgrade"), ("post", "/plugins/x/push"),
    ("post", "/plugins/x/set"),
    ("get", "/swarm"), ("post", "/swarm/init"), ("post", "/swarm/join"), ("post", "/swarm/leave"),
    ("post", "/swarm/update"), ("get", "/swarm/unlockkey"), ("post", "/swarm/unlock"),
    ("get", "/nodes"), ("get", "/nodes/x"), ("delete", "/nodes/x"), ("post", "/nodes/x/update"),
    ("get", "/services"), ("post", "/services/create"), ("get", "/services/x"), ("delete", "/services/x"),
    ("post", "/services/x/update"), ("get", "/services/x/logs"),
    ("get", "/tasks"), ("get", "/tasks/x"), ("get", "/tasks/x/logs"),
    ("get", "/secrets"), ("post", "/secrets/create"), ("get", "/secrets/x"), ("delete", "/secrets/x"),
    ("post", "/secrets/x/update"),
    ("get", "/configs"), ("post", "/configs/create"), ("get", "/configs/x"), ("delete", "/configs/x"),
    ("post", "/configs/x/update"),
    ("get", "/images/search"),
    ("post", "/networks/create"), ("delete", "/networks/x"), ("post", "/networks/x/connect"),
    ("post", "/networks/x/disconnect"),
]


def routes_of_later_say_so_in_one_sentence(node):
    """POST /build, GET /plugins, GET /swarm, GET /nodes, GET /services, GET /tasks, GET /secrets, GET /configs,
    GET /images/search, POST /networks/create, DELETE /networks/{id},
    POST /networks/{id}/connect, POST /networks/{id}/disconnect, POST /session"""
    for method, path in LATER:
        call = getattr(node.api, method)
        data = None if method == "get" else "{}"
        said = refused(501, lambda: node.api._result(call(node.api.base_url + "/v1.44" + path, data=data)))
        assert said.endswith("yet") and "\n" not in said, (path, said)


def the_three_networks_are_listed_and_read(node):
    """GET /networks, GET /networks/{id}"""
    networks = {network["Name"]: network for network in node.api.networks()}
    assert set(networks) == {"bridge", "host", "none"}
    assert [networks[name]["Driver"] for name in ["bridge", "host", "none"]] == ["bridge", "host", "null"]
    for name, network in networks.items():
        assert network["Scope"] == "local" and len(network["Id"]) == 64
        assert node.client.networks.get(name).id == network["Id"]
        assert node.client.networks.get(network["Id"][:12]).name == name
    assert [found["Name"] for found in node.api.networks(names=["host"])] == ["host"]
    assert [found["Name"] for found in node.api.networks(filters={"driver": ["null"]})] == ["none"]


def what_cannot_exist_is_pruned_with_success(node):
    """POST /networks/prune, POST /build/prune"""
    assert node.client.networks.prune() == {"NetworksDeleted": None}
    pruned = node.api.prune_builds()
    assert pruned["SpaceReclaimed"] == 0 and not pruned["CachesDeleted"]
