//! docker-py's own integration tests, as its authors publish them, run on a node of their own. What they ask and cannot get
//! is listed here with the reason; anything else that fails is a failure, and so is a listed one that no longer does.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use proa_tests::image::{Image, Recipe};
use proa_tests::tarball::Tarball;
use proa_tests::{Isolation, Need, Node, Suite, cases, command, guest, python};

/// Nothing of the internet is reached here.
const INTERNET: &str = "pulls from Docker's registry, which is out of reach here";
const NETWORKS: &str = "networks of one's own and ports of native containers come later";
const OTHER: &str = "it expects another engine's details";

/// Files whose subject is not there at all.
const LEFT_OUT: &[(&str, &str)] = &[
    ("api_build_test.py", "building comes later"),
    ("api_config_test.py", "swarms are the work of other engines"),
    ("api_network_test.py", NETWORKS),
    ("api_plugin_test.py", "plugins are not planned"),
    ("api_secret_test.py", "swarms are the work of other engines"),
    ("api_service_test.py", "swarms are the work of other engines"),
    ("api_swarm_test.py", "swarms are the work of other engines"),
    ("context_api_test.py", "about docker-py's own files, not the API"),
    ("credentials", "about programs of the desktop, not the API"),
    ("models_networks_test.py", NETWORKS),
    ("models_nodes_test.py", "swarms are the work of other engines"),
    ("models_services_test.py", "swarms are the work of other engines"),
    ("models_swarm_test.py", "swarms are the work of other engines"),
];

/// Single tests that fail, `CLASS::TEST`, each with its reason.
const UNMET: &[(&str, &str)] = &[];

/// How long all of them may take; most of it is their own waiting.
const PATIENCE: Duration = Duration::from_secs(900);

pub(crate) fn fill(suite: &mut Suite) {
    const NEEDS: &[Need] =
        &[Need::Isolation(Isolation::Linux), Need::Cgroups, Need::Peer("busybox"), Need::DockerPyTests];
    suite.add(NEEDS, cases![docker_py_s_own_tests_pass_but_for_the_listed]);
}

/// What they expect of `alpine:3.10`: its user `postgres` and the folder `/var/opt`.
fn image() -> Result<Image> {
    let layer = ["usr/", "usr/bin/", "var/", "var/opt/"].iter().fold(Tarball::new(), |tar, name| tar.folder(name));
    let passwd = b"root:x:0:0:root:/root:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\n";
    let layer = layer.file("etc/passwd", 0o644, passwd);
    let layer =
        ["top", "whoami", "nproc"].iter().fold(layer, |tar, name| tar.symlink(&format!("bin/{name}"), "busybox"));
    let recipe = Recipe { command: &["/bin/sh"], env: &["PATH=/usr/bin:/bin"], gzip: true, ..Recipe::default() };
    Ok(Image::native(&recipe, vec![guest::busybox_layer()?, layer.finish()]))
}

fn docker_py_s_own_tests_pass_but_for_the_listed() -> Result<()> {
    let node = Node::start()?;
    let image = image()?;
    for (number, name) in ["alpine:3.10", "alpine:latest", "busybox:latest"].iter().enumerate() {
        let layout = node.scratch().join(format!("layout-{number}"));
        image.write_layout(&layout, &format!("docker.io/library/{name}"))?;
        node.load(&layout)?;
    }
    let mut line = Command::new(python::docker_py()?);
    node.own_home(&mut line);
    line.args(["-m", "pytest", "-q", "--tb=line", "-rA", "-p", "no:cacheprovider", "--timeout=60"]);
    for (file, _) in LEFT_OUT {
        line.arg(format!("--ignore=tests/integration/{file}"));
    }
    line.arg("tests/integration").current_dir(python::docker_py_tests()?).env("PYTHONDONTWRITEBYTECODE", "1");
    line.env("DOCKER_HOST", format!("unix://{}", node.socket().display()));
    let output = command::run(&mut line, PATIENCE)?;
    let said = output.text();
    let outcomes: BTreeMap<&str, bool> = said.lines().filter_map(outcome).collect();
    ensure!(outcomes.len() > 150, "too few tests ran: {output}");
    let unmet: BTreeMap<&str, &str> = UNMET.iter().copied().collect();
    let failed: Vec<_> = outcomes.iter().filter(|(name, good)| !**good && !unmet.contains_key(*name)).collect();
    let stale: Vec<_> = unmet.keys().filter(|name| outcomes.get(*name) == Some(&true)).collect();
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("FAILED") || line.starts_with("ERROR")).collect();
    ensure!(failed.is_empty(), "these are not listed: {failed:#?}\n{}", lines.join("\n"));
    ensure!(stale.is_empty(), "these pass and need not be listed: {stale:#?}");
    node.close()
}

/// `PASSED tests/integration/FILE::CLASS::TEST`, or FAILED or ERROR with more behind it.
fn outcome(line: &str) -> Option<(&str, bool)> {
    let (word, rest) = line.split_once(' ')?;
    let good = match word {
        "PASSED" => true,
        "FAILED" | "ERROR" => false,
        _ => return None,
    };
    let name = rest.split(" - ").next()?.strip_prefix("tests/integration/")?;
    Some((name.split_once("::")?.1, good))
}
