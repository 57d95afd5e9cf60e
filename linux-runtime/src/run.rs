//! `run`: one container from its creation to its end, under a zygote of its own.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use proa_linux::zygote::protocol::{Event, Request};
use proa_linux::zygote::{self, Client};
use proa_linux::{Facts, Prepared, Slot, cgroup};

use super::{load, lower};

/// The cgroup below each hierarchy's root.
const PARENT: &str = "proa-linux";

pub(super) fn run(root: &Path, bundle: &Path, pid_file: Option<&Path>, id: &str) -> Result<u8> {
    if id.is_empty()
        || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-+".contains(&byte))
        || id.starts_with('.')
    {
        bail!("id `{id}`: letters, digits and `_ . - +` make an id");
    }
    let spec = load(bundle)?;
    let home = root.join(id);
    fs::create_dir_all(root).with_context(|| format!("make `{}`", root.display()))?;
    fs::create_dir(&home).with_context(|| format!("container `{id}` exists; make `{}`", home.display()))?;
    let outcome = attempt(&spec, &home, bundle, pid_file, id);
    let removed = fs::remove_dir_all(&home).with_context(|| format!("remove `{}`", home.display()));
    let code = outcome?;
    removed?;
    Ok(code)
}

fn attempt(
    spec: &oci_spec::runtime::Spec,
    home: &Path,
    bundle: &Path,
    pid_file: Option<&Path>,
    id: &str,
) -> Result<u8> {
    zygote::spawn(home)?;
    let (mut client, facts) = Client::connect(home)?;
    let group = format!("{PARENT}/{id}");
    let outcome = supervise(spec, &mut client, &facts, (bundle, pid_file), (id, &group));
    let stopped = client.ask(|ticket| Request::Stop { ticket }, &[]);
    client.ended();
    cgroup::kill_all(&facts.cgroups, &group);
    let removed = cgroup::remove(&facts.cgroups, &group);
    cgroup::remove_parent(&facts.cgroups, PARENT);
    let code = outcome?;
    stopped?;
    removed?;
    Ok(code)
}

fn supervise(
    spec: &oci_spec::runtime::Spec,
    client: &mut Client,
    facts: &Facts,
    (bundle, pid_file): (&Path, Option<&Path>),
    (id, group): (&str, &str),
) -> Result<u8> {
    let plan = lower(spec, bundle, group, facts)?;
    let mut prepared = Prepared::new(&plan)?;
    let streams = [std::io::stdin().as_fd().try_clone_to_owned()?, std::io::stdout().as_fd().try_clone_to_owned()?];
    for (number, stream) in (0..).zip(streams) {
        prepared.add(Slot(number), stream);
    }
    prepared.add(Slot(2), std::io::stderr().as_fd().try_clone_to_owned()?);
    let descriptors: Vec<_> = prepared.descriptors.iter().map(AsFd::as_fd).collect();
    let (name, given) = (id.to_owned(), prepared.slots);
    let request = |ticket| Request::Create { ticket, id: name, plan, given };
    let (created, _) = client.ask(request, &descriptors)?;
    if let (Some(path), Event::Created { pid, .. }) = (pid_file, &created) {
        fs::write(path, pid.to_string()).with_context(|| format!("write `{}`", path.display()))?;
    }
    let started = client.ask(|ticket| Request::Start { ticket, id: id.to_owned() }, &[]);
    let exit = client.exit(id)?;
    client.ask(|ticket| Request::Acknowledge { ticket, id: id.to_owned() }, &[])?;
    started?;
    Ok(exit.code)
}
