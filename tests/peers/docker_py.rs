//! docker-py: a case a route, written in Python beside this file and shown here by name, each a run of its own.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use proa_tests::peer::Distribution;
use proa_tests::{Isolation, Need, Node, Suite, cases, command, guest, python, wait};
use tempfile::TempDir;

/// The files of cases, with their texts: names are read from them, and the routes they say they are for.
const FILES: &[(&str, &str)] = &[
    ("system.py", include_str!("docker_py/system.py")),
    ("containers.py", include_str!("docker_py/containers.py")),
    ("exec.py", include_str!("docker_py/exec.py")),
    ("files.py", include_str!("docker_py/files.py")),
    ("images.py", include_str!("docker_py/images.py")),
    ("later.py", include_str!("docker_py/later.py")),
];

/// Every route docker-py knows a verb for.
const ROUTES: &[&str] = &[
    "GET /_ping",
    "HEAD /_ping",
    "GET /version",
    "GET /info",
    "POST /auth",
    "GET /events",
    "GET /system/df",
    "GET /containers/json",
    "POST /containers/create",
    "POST /containers/prune",
    "GET /containers/{id}/json",
    "POST /containers/{id}/start",
    "POST /containers/{id}/stop",
    "POST /containers/{id}/restart",
    "POST /containers/{id}/kill",
    "POST /containers/{id}/pause",
    "POST /containers/{id}/unpause",
    "POST /containers/{id}/rename",
    "POST /containers/{id}/update",
    "POST /containers/{id}/wait",
    "POST /containers/{id}/resize",
    "POST /containers/{id}/attach",
    "GET /containers/{id}/stats",
    "GET /containers/{id}/logs",
    "GET /containers/{id}/top",
    "GET /containers/{id}/changes",
    "GET /containers/{id}/export",
    "GET /containers/{id}/archive",
    "PUT /containers/{id}/archive",
    "HEAD /containers/{id}/archive",
    "DELETE /containers/{id}",
    "POST /commit",
    "POST /containers/{id}/exec",
    "POST /exec/{id}/start",
    "POST /exec/{id}/resize",
    "GET /exec/{id}/json",
    "GET /images/json",
    "POST /images/create",
    "POST /images/load",
    "POST /images/prune",
    "GET /images/get",
    "GET /images/search",
    "GET /images/{name}/json",
    "GET /images/{name}/get",
    "GET /images/{name}/history",
    "POST /images/{name}/push",
    "POST /images/{name}/tag",
    "DELETE /images/{name}",
    "GET /networks",
    "GET /networks/{id}",
    "POST /networks/create",
    "POST /networks/prune",
    "POST /networks/{id}/connect",
    "POST /networks/{id}/disconnect",
    "DELETE /networks/{id}",
    "GET /volumes",
    "GET /volumes/{name}",
    "POST /volumes/create",
    "POST /volumes/prune",
    "DELETE /volumes/{name}",
    "GET /distribution/{name}/json",
    "POST /build",
    "POST /build/prune",
    "GET /plugins",
    "GET /swarm",
    "GET /nodes",
    "GET /services",
    "GET /tasks",
    "GET /secrets",
    "GET /configs",
];

/// On what a case runs, by the name of its parameter.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Native programs on the node the suite shares.
    Node,
    /// The same on a node of its own.
    Alone,
    /// The probe under each isolation.
    Guest,
}

pub(crate) fn fill(suite: &mut Suite) {
    for (file, text) in FILES {
        for (name, stage) in text.lines().filter_map(case) {
            let isolations: &[Isolation] =
                if matches!(stage, Stage::Guest) { &Isolation::ALL } else { &[Isolation::Linux] };
            for isolation in isolations {
                let needs =
                    [Need::Isolation(*isolation), Need::Peer("busybox"), Need::Peer("docker-registry"), Need::DockerPy];
                suite.case(format!("docker_py::{isolation}::{name}"), needs.to_vec(), move || {
                    run(&format!("{file}::{name}"), stage, *isolation)
                });
            }
        }
    }
    suite.add(&[], cases![docker_py_has_a_case_for_every_route]);
}

/// `def NAME(STAGE):` at the beginning of a line.
fn case(line: &str) -> Option<(&str, Stage)> {
    let (name, rest) = line.strip_prefix("def ")?.split_once('(')?;
    let stage = match rest {
        "node):" => Stage::Node,
        "alone):" => Stage::Alone,
        "guest):" => Stage::Guest,
        _ => return None,
    };
    Some((name, stage))
}

fn docker_py_has_a_case_for_every_route() -> Result<()> {
    let told: String = FILES.iter().map(|(_, text)| *text).collect();
    let missing: Vec<_> = ROUTES.iter().filter(|route| !told.contains(*route)).collect();
    ensure!(missing.is_empty(), "no case names {missing:?}");
    Ok(())
}

/// The cases as files: whoever runs the suite need not be able to read the clone.
fn written() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("proa-test-docker-py-").tempdir()?;
    for (name, text) in FILES.iter().chain(&[("conftest.py", include_str!("docker_py/conftest.py"))]) {
        fs::write(folder.path().join(name), text)?;
    }
    Ok(folder)
}

fn run(case: &str, stage: Stage, isolation: Isolation) -> Result<()> {
    if !matches!(stage, Stage::Alone) {
        return run_on(Node::shared()?, case, isolation, None);
    }
    let (node, registry) = (Node::start()?, Distribution::start()?);
    run_on(&node, case, isolation, Some(&registry))?;
    node.close()
}

fn run_on(node: &Node, case: &str, isolation: Isolation, registry: Option<&Distribution>) -> Result<()> {
    let mut line = Command::new(python::docker_py()?);
    node.own_home(&mut line);
    line.args(["-m", "pytest", "--quiet", "--tb=short", "-p", "no:cacheprovider", "--timeout=60"]);
    line.args(["-o", "python_files=*.py", "-o", "python_functions=[a-z]*"]);
    let folder = written()?;
    line.arg(case).current_dir(&folder).env("PYTHONDONTWRITEBYTECODE", "1");
    line.env("DOCKER_HOST", format!("unix://{}", node.socket().display()));
    line.env("PROA_TEST_BUSYBOX", guest::busybox(node)?).env("PROA_TEST_PROBE", node.probe()?);
    line.env("PROA_TEST_ISOLATION", isolation.name());
    if let Some(registry) = registry {
        line.env("PROA_TEST_REGISTRY", registry.address().to_string());
    }
    let output = command::run(&mut line, wait::PATIENCE)?;
    ensure!(output.code() == Some(0), "docker-py is not content:\n{}", output.text());
    Ok(())
}
