"""Programs beside a container's own."""

import docker

from conftest import refused, until


def exec_gives_output_and_code(node):
    """POST /containers/{id}/exec, POST /exec/{id}/start, GET /exec/{id}/json"""
    container = node.sleeper(environment={"OF": "container"})
    code, output = container.exec_run(["sh", "-c", "echo $A $OF; pwd; id -u; exit 3"], environment={"A": "1"},
                                      workdir="/tmp", user="guest")
    assert (code, output) == (3, b"1 container\n/tmp\n1000\n")
    code, (out, err) = container.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True)
    assert (code, out, err) == (0, b"out\n", b"err\n")
    assert b"".join(container.exec_run(["seq", "3"], stream=True).output) == b"1\n2\n3\n"
    assert container.exec_run(["cat", "/no/such"]).exit_code == 1
    assert container.exec_run(["/no/such"]).exit_code in (126, 127)


def exec_of_a_module_is_a_fresh_instance(guest):
    """POST /containers/{id}/exec"""
    container = guest.start("tick", "1")
    command = ["out", "word"] if guest.isolation.startswith("wasm") else ["/app", "out", "word"]
    made = guest.api.exec_create(container.id, command)
    output = guest.api.exec_start(made["Id"])
    assert output == b"word\n", output
    assert guest.api.exec_inspect(made["Id"])["ExitCode"] == 0


def exec_is_inspected_while_it_runs_and_after(node):
    """GET /exec/{id}/json"""
    container = node.sleeper()
    made = node.api.exec_create(container.id, ["cat"], stdin=True)
    before = node.api.exec_inspect(made["Id"])
    assert before["Running"] is False and before["ExitCode"] is None and before["ContainerID"] == container.id
    assert before["ProcessConfig"]["entrypoint"] == "cat" and before["OpenStdin"] is True
    socket = node.api.exec_start(made["Id"], socket=True)
    until("it runs", lambda: node.api.exec_inspect(made["Id"])["Running"])
    assert node.api.exec_inspect(made["Id"])["Pid"] > 0
    container.reload()
    assert container.attrs["ExecIDs"] == [made["Id"]]
    socket._sock.sendall(b"ahoy\n")
    assert next(docker.utils.socket.frames_iter(socket, tty=False)) == (1, b"ahoy\n")
    socket.close()
    assert refused(409, lambda: node.api.exec_start(made["Id"]))


def exec_without_streams_detaches(node):
    """POST /exec/{id}/start"""
    container = node.sleeper()
    made = node.api.exec_create(container.id, ["sleep", "500"], stdout=False, stderr=False)
    assert node.api.exec_start(made["Id"]) == b""
    assert node.api.exec_inspect(made["Id"])["Running"] is True
    container.exec_run(["touch", "/done"], detach=True)
    until("the detached one has run", lambda: container.exec_run(["test", "-e", "/done"]).exit_code == 0)


def exec_has_a_terminal_with_a_size(node):
    """POST /exec/{id}/resize"""
    container = node.sleeper()
    made = node.api.exec_create(container.id, ["sh", "-c", "read x; stty size"], tty=True, stdin=True)
    socket = node.api.exec_start(made["Id"], tty=True, socket=True)
    node.api.exec_resize(made["Id"], height=22, width=88)
    socket._sock.sendall(b"\n")
    seen = b""
    while b"22 88" not in seen:
        piece = socket._sock.recv(1024)
        assert piece, seen
        seen += piece
    socket.close()


def exec_needs_a_container_that_runs(guest):
    """POST /containers/{id}/exec"""
    container = guest.create("out", "x")
    assert "is not running" in refused(409, lambda: guest.api.exec_create(container.id, ["out"]))
    assert refused(404, lambda: guest.api.exec_create("nobody", ["out"])) == "No such container: nobody"
    running = guest.start("tick", "1")
    assert "exec command" in refused(400, lambda: guest.api.exec_create(running.id, [])).lower()
