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
const BUILDING: &str = "building comes later";

/// Files whose subject is not there at all.
const LEFT_OUT: &[(&str, &str)] = &[
    ("api_build_test.py", BUILDING),
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
const UNMET: &[(&str, &str)] = &[
    ("AttachContainerTest::test_run_container_reading_socket_ws", "streams over websockets come later"),
    ("CommitTest::test_commit", "it reads `Container`, which Docker itself left out with API 1.45"),
    ("CommitTest::test_commit_with_changes", "it reads `Container`, which Docker itself left out with API 1.45"),
    ("ContainerCPUTest::test_create_with_runtime", "it takes the default runtime's name for `runc`"),
    ("ContainerCollectionTest::test_run_with_image_that_does_not_exist", INTERNET),
    ("ContainerCollectionTest::test_run_with_network", NETWORKS),
    ("ContainerCollectionTest::test_run_with_networking_config", NETWORKS),
    ("ContainerCollectionTest::test_run_with_networking_config_only_undeclared_network", NETWORKS),
    ("ContainerCollectionTest::test_run_with_networking_config_with_undeclared_network", NETWORKS),
    ("ContainerTest::test_create_with_volume_driver", "volumes have the driver `local` alone"),
    ("ContainerTest::test_exec_run_failed", "it expects 126 for a missing program, which Docker has since made 127"),
    ("ContainerTest::test_ports_target_list", NETWORKS),
    ("ContainerTest::test_ports_target_none", NETWORKS),
    ("ContainerTest::test_ports_target_tuple", NETWORKS),
    ("CreateContainerTest::test_create_with_links", NETWORKS),
    ("CreateContainerTest::test_create_with_mac_address", NETWORKS),
    ("ImageCollectionTest::test_build", BUILDING),
    ("ImageCollectionTest::test_build_with_error", BUILDING),
    ("ImageCollectionTest::test_build_with_multiple_success", BUILDING),
    ("ImageCollectionTest::test_build_with_success_build_output", BUILDING),
    ("ImageCollectionTest::test_list", INTERNET),
    ("ImageCollectionTest::test_list_with_repository", INTERNET),
    ("ImageCollectionTest::test_pull", INTERNET),
    ("ImageCollectionTest::test_pull_multiple", INTERNET),
    ("ImageCollectionTest::test_pull_with_sha", INTERNET),
    ("ImageCollectionTest::test_pull_with_tag", INTERNET),
    ("ImageTest::test_tag_and_remove", INTERNET),
    ("ImportImageTest::test_get_load_image", INTERNET),
    ("InspectDistributionTest::test_inspect_distribution", INTERNET),
    ("LinkTest::test_remove_link", NETWORKS),
    ("PortTest::test_port", NETWORKS),
    ("PruneImagesTest::test_prune_images", INTERNET),
    ("PullImageTest::test_pull", INTERNET),
    ("PullImageTest::test_pull_streaming", INTERNET),
    ("TestRegressions::test_792_explicit_port_protocol", NETWORKS),
];

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
    let met = |name: &&str| outcomes.get(*name) == Some(&true) && unmet[*name] != INTERNET;
    let stale: Vec<_> = unmet.keys().copied().filter(met).collect();
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
