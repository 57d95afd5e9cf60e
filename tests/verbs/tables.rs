//! Tables, templates and sentences read as docker's do, on the same host.

use anyhow::{Result, ensure};
use proa_tests::docker::{Docker, Version};
use proa_tests::{Isolation, Node, guest};

/// What both print of the same three containers.
const LINES: &[&[&str]] = &[
    &["ps"],
    &["ps", "-a"],
    &["ps", "-aq"],
    &["ps", "-a", "--no-trunc"],
    &["ps", "-l"],
    &["ps", "-n", "2"],
    &["ps", "-a", "--format", "{{.Names}}"],
    &["ps", "-a", "--format", "table {{.ID}}\\t{{.Names}}\\t{{.Label \"c\"}}"],
    &[
        "ps",
        "-a",
        "--format",
        "{{.ID}} {{.Image}} {{.Command}} {{.CreatedAt}} {{.Ports}} {{.State}} {{.Names}} {{.Labels}} {{.Mounts}} {{.Networks}} {{.LocalVolumes}}",
    ],
    &["ps", "-a", "--filter", "status=exited"],
    &["ps", "-a", "--filter", "label=c=2"],
    &["images"],
    &["images", "-q"],
    &["images", "--digests"],
    &["images", "--no-trunc"],
    &["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.Size}} {{.CreatedAt}} {{.Digest}}"],
    &["history", "busybox"],
    &["history", "-q", "busybox"],
    &["history", "--format", "{{.ID}}|{{.CreatedBy}}|{{.Size}}|{{.Comment}}", "busybox"],
    &["history", "--human=false", "busybox"],
    &["top", "one", "-o", "pid,args"],
    &["port", "one"],
    &["port", "one", "81"],
    &["diff", "two"],
    &["logs", "two"],
    &["logs", "-t", "two"],
    &["logs", "-n", "1", "two"],
    &["logs", "--since", "1h", "two"],
    &[
        "inspect",
        "-f",
        "{{.Name}} {{.State.Status}} {{.Config.Cmd}} {{.HostConfig.PidsLimit}} {{.Config.Labels}}",
        "one",
    ],
    &["inspect", "-f", "{{index .Config.Labels \"a.b\"}}{{.Config.Labels.nope}}", "one"],
    &["inspect", "-f", "{{if .State.Running}}up{{else}}down{{end}} {{len .Mounts}}", "one", "three"],
    &["inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Destination}} {{end}}{{json .State.Running}}", "two"],
    &["inspect", "-f", "{{with .Config}}{{join .Cmd \",\" | upper}} {{printf \"%q %5d\" .Image 3}}{{end}}", "one"],
    &["volume", "ls"],
    &["volume", "ls", "-q"],
    &["volume", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"],
    &["network", "ls"],
    &["network", "ls", "-q"],
    &["network", "ls", "--format", "json"],
    &["network", "ls", "--filter", "name=host"],
    &["network", "inspect", "bridge", "-f", "{{.Name}} {{.Driver}}"],
    &["system", "df"],
    &["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}"],
    &["events", "--since", "1h", "--until", "0s", "--filter", "type=container"],
    &["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}} {{.Actor.Attributes.name}}"],
    &["version", "--format", "{{.Server.APIVersion}} {{.Server.Version}}"],
    &["info", "--format", "{{.NCPU}} {{.OSType}} {{.Containers}}"],
    &["wait", "three"],
    &["exec", "one", "echo", "hi"],
    &["exec", "one", "sh", "-c", "exit 7"],
    &["exec", "one", "no-such"],
    &["exec", "three", "true"],
    &["search", "foo"],
    &["network", "create", "foo"],
    &["rename", "two", "one"],
    &["unpause", "one"],
    &["rm", "one"],
    &["rmi", "nothing"],
    &["rmi", "busybox"],
    &["logs", "nothing"],
    &["start", "nothing"],
    &["stop", "nothing"],
    &["kill", "nothing"],
    &["kill", "-s", "BOGUS", "one"],
    &["cp", "one:/nope", "/tmp/nope"],
    &["commit", "nothing"],
    &["export", "nothing"],
    &["attach", "three"],
    &["inspect", "nothing"],
    &["volume", "inspect", "nope"],
    &["volume", "rm", "nope"],
    &["save", "nothing"],
    &["create", "--name", "one", "busybox"],
    &["run", "--name", "one", "busybox"],
    &["rm", "-f", "nothing"],
    &["run", "--pull", "never", "no/such:image"],
    &["run", "--rm", "busybox", "no-such"],
    &["run", "--rm", "busybox", "/etc"],
];

pub(crate) fn tables_templates_and_codes_are_docker_s() -> Result<()> {
    let node = Node::start()?;
    let busybox = guest::busybox(&node)?;
    let run = |flags: &[&str], command: &[&str]| -> Result<()> {
        let model = ["run", "--isolation", Isolation::Linux.name()];
        node.proa(&[&model[..], flags, &[&busybox], command].concat())?;
        Ok(())
    };
    run(&["-d", "--name", "one", "-l", "a.b=1", "-l", "c=2"], &["sleep", "1000"])?;
    run(
        &["-d", "--name", "two", "-l", "c=2", "-v", "vol:/data", "--tmpfs", "/tt"],
        &["sh", "-c", "echo out; echo err >&2; touch /new; sleep 1000"],
    )?;
    run(&["--name", "three"], &["sh", "-c", "exit 3"])?;
    let docker = Docker { node: &node, version: Version::Installed };
    let logs = || Ok(docker.text(&["logs", "two"])? == "out");
    proa_tests::wait::until("the second container has written", logs)?;
    let mut differences = Vec::new();
    for line in LINES {
        // Ages may pass a second between the two: one more look tells such a difference from a lasting one.
        let alike = || -> Result<Option<String>> {
            let (theirs, ours) = (docker.run(line)?, node.proa(line)?);
            let same = theirs.code() == ours.code() && (theirs.text() == ours.text() || mistaken(&theirs.text()));
            Ok((!same).then(|| format!("`{}` differs\ndocker: {theirs}\nproa: {ours}", line.join(" "))))
        };
        if alike()?.is_some() && alike()?.is_some() {
            differences.extend(alike()?);
        }
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    ensure!(node.proa(&["rm", "-f", "one", "two", "three"])?.code() == Some(0));
    node.close()
}

/// docker prints an empty list before some of its refusals.
fn mistaken(text: &str) -> bool {
    matches!(text, "[]" | "")
}
