"""Containers: their life, what is said of them, and their streams."""

import datetime
import threading

import docker

from conftest import refused, until


def a_container_lives_and_ends(guest):
    """POST /containers/create, POST /containers/{id}/start, POST /containers/{id}/wait, GET /containers/{id}/json,
    DELETE /containers/{id}"""
    container = guest.create("exit", str(guest.code), name="lives-" + guest.isolation, labels={"a": "b"}, environment={"K": "v"})
    assert container.status == "created" and container.name == "lives-" + guest.isolation
    container.start()
    assert container.wait() == {"StatusCode": guest.code}
    container.reload()
    state = container.attrs["State"]
    assert container.status == "exited" and state["ExitCode"] == guest.code and state["Pid"] == 0
    assert "Health" not in state
    assert container.labels == {"a": "b"} and "K=v" in container.attrs["Config"]["Env"]
    assert container.attrs["HostConfig"]["Isolation"] == guest.isolation
    assert container.attrs["Image"].startswith("sha256:") and container.image.id == container.attrs["Image"]
    container.remove()
    assert refused(404, container.reload) == f"No such container: {container.id}"


def run_gives_what_was_printed(guest):
    """POST /containers/{id}/attach, GET /containers/{id}/logs"""
    run = lambda *command, **options: guest.client.containers.run(
        guest.probe, list(command), isolation=guest.isolation, remove=True, **options)
    assert run("out", "word") == b"word\n"
    try:
        run("exit", str(guest.code))
        raise AssertionError("such an end is no success")
    except docker.errors.ContainerError as error:
        assert error.exit_status == guest.code
    assert run("err", "told", stdout=False, stderr=True) == b"told\n"


def wait_answers_a_head_at_once_and_never_hangs(guest):
    """POST /containers/{id}/wait"""
    for condition in ["not-running", "next-exit", "removed"]:
        container = guest.create("exit", str(guest.code))
        if condition != "not-running":
            # Asked before the start, as `docker run` does: not even the fastest end is missed.
            heard = guest.api._post(
                guest.api._url("/containers/{0}/wait", container.id), params={"condition": condition}, stream=True)
            assert heard.status_code == 200
            container.start()
            if condition == "removed":
                until("it ended", lambda: container.reload() or container.status == "exited")
                container.remove()
            ended = heard.json()
        else:
            container.start()
            ended = container.wait(condition=condition, timeout=30)
            # What has ended already has its code still.
            assert container.wait(timeout=30) == ended
        assert ended["StatusCode"] == guest.code, (condition, ended)


def stop_kill_restart_and_their_repetition(guest):
    """POST /containers/{id}/stop, POST /containers/{id}/kill, POST /containers/{id}/restart"""
    container = guest.start("tick", "0.05")
    container.stop(timeout=1)
    container.reload()
    assert container.status == "exited" and container.attrs["State"]["ExitCode"] in (137, 143)
    # To stop what is stopped, or start what runs, is no error: 304.
    container.stop(timeout=1)
    container.restart(timeout=1)
    container.reload()
    assert container.status == "running"
    container.start()
    container.kill()
    assert container.wait()["StatusCode"] == 137
    said = refused(409, container.kill)
    assert said.endswith("is not running"), said
    assert "no-such" in refused(400, lambda: container.kill("no-such")).lower()


def pause_holds_it_and_unpause_lets_it_go_on(guest):
    """POST /containers/{id}/pause, POST /containers/{id}/unpause"""
    container = guest.start("tick", "0.01")
    until("it ticks", lambda: container.logs().count(b"\n") > 3)
    container.pause()
    container.reload()
    assert container.status == "paused"
    assert container.attrs["State"]["Paused"] is True and container.attrs["State"]["Running"] is True
    assert [found.id for found in guest.client.containers.list(filters={"status": "paused", "id": container.id})]
    assert "paused" in refused(409, container.pause)
    before = len(container.logs())
    container.unpause()
    until("it ticks on", lambda: len(container.logs()) > before)
    assert "not paused" in refused(500, container.unpause)
    container.reload()
    assert container.status == "running"


def rename_frees_the_old_name(guest):
    """POST /containers/{id}/rename"""
    first, second = guest.create("out", "x"), guest.create("out", "x")
    old = second.name
    second.rename("renamed-" + guest.isolation)
    second.reload()
    assert second.name == "renamed-" + guest.isolation
    assert refused(404, lambda: guest.client.containers.get(old)) == f"No such container: {old}"
    assert "is already in use" in refused(409, lambda: first.rename("renamed-" + guest.isolation))


def update_changes_limits(node):
    """POST /containers/{id}/update"""
    container = node.sleeper(mem_limit="64m")
    answer = container.update(mem_limit="128m", memswap_limit="256m", restart_policy={"Name": "on-failure",
                                                                                     "MaximumRetryCount": 2})
    assert not answer["Warnings"]
    container.reload()
    settings = container.attrs["HostConfig"]
    assert settings["Memory"] == 128 << 20
    assert settings["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}


def list_filters_and_limits(guest):
    """GET /containers/json"""
    name = "listed-" + guest.isolation
    ended = guest.create("exit", str(guest.code), name=name + "-ended", labels={"group": name})
    running = guest.start("tick", "1", name=name, labels={"group": name, "role": "runs"})
    ended.start()
    ended.wait()
    listed = lambda **how: {found.id for found in guest.client.containers.list(**how)}
    mine = {"label": f"group={name}"}
    assert listed(filters=mine) == {running.id}
    assert listed(all=True, filters=mine) == {running.id, ended.id}
    assert listed(filters={**mine, "status": "exited"}) == {ended.id}
    assert listed(all=True, filters={**mine, "exited": guest.code}) == {ended.id}
    assert listed(all=True, filters={"label": [f"group={name}", "role"]}) == {running.id}
    assert listed(all=True, filters={"name": name + "$"}) == {running.id}
    assert listed(all=True, filters={**mine, "since": ended.id}) == {running.id}
    assert listed(all=True, filters={**mine, "before": running.id}) == {ended.id}
    assert listed(filters={**mine, "ancestor": guest.probe}) == {running.id}
    assert len(guest.client.containers.list(limit=1)) == 1
    (summary,) = guest.api.containers(filters=mine, size=True)
    assert summary["Names"] == ["/" + name] and summary["State"] == "running" and summary["Status"].startswith("Up ")
    assert summary["Command"].endswith("tick 1") and summary["Image"] == guest.probe


def logs_are_read_in_parts_and_followed(guest):
    """GET /containers/{id}/logs"""
    container = guest.start("lines", "5")
    container.wait()
    assert container.logs() == b"".join(b"line %d\n" % line for line in range(1, 6))
    assert container.logs(tail=2) == b"line 4\nline 5\n"
    assert container.logs(stdout=False) == b""
    stamped = container.logs(timestamps=True, tail=1).split(b" ", 1)
    assert stamped[1] == b"line 5\n" and datetime.datetime.fromisoformat(stamped[0].decode()[:19])
    later = datetime.datetime.now() + datetime.timedelta(hours=1)
    assert container.logs(since=later) == b""
    assert container.logs(until=later).count(b"\n") == 5
    ticking = guest.start("tick", "0.02")
    lines = []
    for piece in ticking.logs(stream=True, follow=True):
        lines.append(piece)
        if b"".join(lines).count(b"\n") > 5:
            break
    ticking.kill()


def attach_carries_input_and_output(guest):
    """POST /containers/{id}/attach, POST /containers/{id}/resize"""
    container = guest.create("cat", stdin_open=True)
    socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    socket._sock.sendall(b"ahoy\n")
    assert next(docker.utils.socket.frames_iter(socket, tty=False)) == (1, b"ahoy\n")
    socket.close()
    container.kill()
    assert container.attach(stdout=True, stream=False, logs=True) == b"ahoy\n"


def a_terminal_has_a_size_and_one_stream(node):
    """POST /containers/{id}/resize"""
    container = node.create("sh", "-c", "trap 'stty size' WINCH; read x; stty size", tty=True, stdin_open=True)
    socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    container.resize(33, 77)
    socket._sock.sendall(b"\n")
    until("the size is shown", lambda: b"33 77" in container.logs())
    assert "invalid" in refused(400, lambda: node.api._result(node.api._post(
        node.api._url("/containers/{0}/resize", container.id), params={"h": "x", "w": 1}))).lower()
    socket.close()


def detach_keys_let_a_program_run_on(node):
    """POST /containers/{id}/attach"""
    container = node.create("cat", tty=True, stdin_open=True)
    for keys, typed in [("", b"\x10\x11"), ("ctrl-a,x", b"\x01x")]:
        params = {"stdin": 1, "stdout": 1, "stream": 1, **({"detachKeys": keys} if keys else {})}
        socket = container.attach_socket(params=params)
        container.start()
        socket._sock.sendall(b"word\n")
        seen = b""
        while b"word" not in seen:
            seen += socket._sock.recv(100)
        socket._sock.sendall(typed)
        while socket._sock.recv(100):
            pass
        socket.close()
        container.reload()
        assert container.status == "running", keys
    said = refused(400, lambda: node.api._result(node.api._post(
        node.api._url("/containers/{0}/attach", container.id), params={"stream": 1, "detachKeys": "no-such"})))
    assert "no-such" in said, said


def stats_hold_a_previous_sample(guest):
    """GET /containers/{id}/stats"""
    container = guest.start("tick", "0.01")
    until("it ticks", lambda: container.logs().count(b"\n") > 3)
    once = container.stats(stream=False)
    assert once["memory_stats"]["usage"] > 0 and once["memory_stats"]["limit"] > 0
    assert once["cpu_stats"]["cpu_usage"]["total_usage"] >= once["precpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert once["read"] > once["preread"] and once["name"] == "/" + container.name and once["id"] == container.id
    alone = container.stats(stream=False, one_shot=True)
    assert alone["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    stream = container.stats(decode=True)
    first, second = next(stream), next(stream)
    assert second["preread"] == first["read"]
    stream.close()


def top_shows_the_processes(node):
    """GET /containers/{id}/top"""
    container = node.sleeper()
    table = container.top()
    column = table["Titles"].index("CMD")
    assert any("sleep 1000" in row[column] for row in table["Processes"]), table
    assert "PID" in container.top(ps_args="-o pid,comm")["Titles"]
    container.kill()
    container.wait()
    assert "is not running" in refused(409, container.top)


def prune_takes_what_has_ended(alone):
    """POST /containers/prune"""
    ended, running = alone.create("sh", "-c", "echo x > /x", labels={"a": "1"}), alone.sleeper(labels={"a": "1"})
    kept = alone.create("true", labels={"keep": "yes"})
    ended.start()
    ended.wait()
    pruned = alone.client.containers.prune(filters={"label": "a=1"})
    assert pruned["ContainersDeleted"] == [ended.id] and pruned["SpaceReclaimed"] >= 0
    left = {found.id for found in alone.client.containers.list(all=True)}
    assert left == {running.id, kept.id}
    assert alone.client.containers.prune(filters={"label!": "keep"})["ContainersDeleted"] is None


def a_name_is_taken_once(guest):
    """POST /containers/create"""
    first = guest.create("out", "x", name="once-" + guest.isolation)
    said = refused(409, lambda: guest.create("out", "x", name="once-" + guest.isolation))
    assert said.startswith(f'Conflict. The container name "/{first.name}" is already in use by container "{first.id}".')
    assert refused(404, lambda: guest.create("x", image="nobody:1")) == "No such image: nobody:1"
    assert "cannot remove" in refused(409, guest.start("tick", "1").remove)


def healthchecks_are_told(node):
    """GET /containers/{id}/json"""
    check = {"test": ["CMD-SHELL", "test -e /healthy"], "interval": 100_000_000, "timeout": 2_000_000_000, "retries": 2}
    container = node.start("sh", "-c", "touch /healthy; exec sleep 1000", init=True, healthcheck=check)
    health = lambda: container.reload() or container.attrs["State"]["Health"]
    until("it is healthy", lambda: health()["Status"] == "healthy")
    assert health()["Log"][-1]["ExitCode"] == 0 and health()["FailingStreak"] == 0
    assert node.client.containers.list(filters={"health": "healthy", "id": container.id})
    container.exec_run(["rm", "/healthy"])
    until("it is unhealthy", lambda: health()["Status"] == "unhealthy" and health()["FailingStreak"] >= 2)


def restart_policies_are_kept(node):
    """POST /containers/create"""
    container = node.start("false", restart_policy={"Name": "on-failure", "MaximumRetryCount": 1})
    ended = lambda: container.reload() or container.status == "exited" and container.attrs["RestartCount"] == 1
    until("it was restarted once", ended)
    assert container.attrs["State"]["ExitCode"] == 1


def many_wait_for_one(guest):
    """POST /containers/{id}/wait"""
    container = guest.start("tick", "1")
    codes = []
    waiters = [threading.Thread(target=lambda: codes.append(container.wait()["StatusCode"])) for _ in range(4)]
    for waiter in waiters:
        waiter.start()
    container.kill()
    for waiter in waiters:
        waiter.join(30)
    assert codes == [137] * 4
