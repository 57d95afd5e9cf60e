//! A container as an image: what it changed as one more layer, what it was run with as the configuration.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bollard_stubs::models::ContainerConfig;
use proa_registry::{Commit, Descriptor, Reference};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::files;
use crate::host::Host;
use crate::host::files::ids;
use crate::request::{arguments, merge_entries};
use crate::state::{Container, Record, Status};
use crate::{instructions, timestamp};

/// How long a container that could not be paused may take to end.
const ENDING: Duration = Duration::from_secs(1);

/// What a commit is asked to do.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub reference: Option<Reference>,
    pub author: String,
    pub comment: String,
    /// Holds the container while its files are read.
    pub pause: bool,
    /// Wins over the container's own, field by field.
    pub config: ContainerConfig,
    /// Dockerfile instructions, applied to it.
    pub changes: Vec<String>,
}

impl Host {
    /// Makes an image of a container; its id is the answer.
    ///
    /// # Errors
    /// `Invalid` for a Wasm container, whose image is all there is of it, and for instructions that are none.
    pub async fn commit(self: &Arc<Self>, container: &Arc<Container>, wanted: Wanted) -> Result<String> {
        let record = container.record();
        if record.isolation.is_wasm() {
            let name = &record.name;
            return Err(Error::Invalid(format!(
                "container {name} is Wasm: it changes no files of its image, so there is nothing to commit"
            )));
        }
        let config = config(&record, &wanted)?;
        // One that does not run is not started meanwhile.
        let turn = if record.status.is_running() { None } else { Some(container.turn.lock().await) };
        let held = wanted.pause && self.hold(container).await?;
        let committed = self.commit_files(container, &record, &wanted, config).await;
        if held && let Err(error) = self.unpause(container).await {
            tracing::error!(container = container.id(), "{}", error.sentence());
        }
        drop(turn);
        let id = committed?.digest.to_string();
        let shown = wanted.reference.as_ref().map(Reference::familiar).unwrap_or_default();
        let told = [("comment", wanted.comment.clone()), ("imageID", id.clone()), ("imageRef", shown.clone())];
        self.events.container(container, "commit", &told);
        if !shown.is_empty() {
            self.events.image("tag", &id, &shown);
        }
        Ok(id)
    }

    /// Pauses it while its files are read; one that does not run, or ends by itself just now, needs no pause.
    async fn hold(&self, container: &Container) -> Result<bool> {
        if container.status() != Status::Running {
            return Ok(false);
        }
        let Err(error) = self.pause(container).await else { return Ok(true) };
        let mut news = container.news();
        let ended = news.wait_for(|news| news.gone || !news.status.is_running());
        if tokio::time::timeout(ENDING, ended).await.is_ok() { Ok(false) } else { Err(error) }
    }

    async fn commit_files(
        &self,
        container: &Container,
        record: &Record,
        wanted: &Wanted,
        config: Value,
    ) -> Result<Descriptor> {
        let upper = self.upper(container).await?;
        let commit = Commit {
            config,
            author: wanted.author.clone(),
            comment: wanted.comment.clone(),
            created: timestamp::rfc3339(SystemTime::now()),
            created_by: arguments(&record.config).join(" "),
        };
        let (manifest, ids, reference) = (record.manifest.clone(), ids(record.isolation), wanted.reference.clone());
        let name = record.name.clone();
        let committed = self
            .images
            .blocking("commit container", &name, move |store| {
                let digest = manifest.parse()?;
                let parent = store.image_at(&digest)?;
                let lease = store.lease();
                let fill = |out: &mut dyn io::Write| files::layer::layer(upper.as_ref(), ids, out);
                let descriptor = store.commit(&lease, &parent, &commit, fill)?;
                match &reference {
                    Some(reference) => store.tag(&descriptor, reference)?,
                    None => store.keep(&descriptor)?,
                }
                Ok(descriptor)
            })
            .await;
        self.images.forget_names();
        committed
    }
}

/// The new image's configuration: the request's fields, the instructions, and the container's own where they say nothing.
fn config(record: &Record, wanted: &Wanted) -> Result<Value> {
    let mut new = wanted.config.clone();
    if new.entrypoint.is_none() && new.cmd.is_none() {
        (new.entrypoint, new.cmd) = (record.config.entrypoint.clone(), record.config.cmd.clone());
    }
    let own = &record.config;
    let given = new.env.take().unwrap_or_default();
    let kept = own.env.iter().flatten().filter(|entry| entry.contains('=')).cloned();
    new.env = Some(merge_entries(kept.collect(), &given));
    let mut labels = own.labels.clone().unwrap_or_default();
    labels.extend(new.labels.take().unwrap_or_default());
    new.labels = Some(labels);
    let or_own =
        |given: Option<String>, own: &Option<String>| given.filter(|text| !text.is_empty()).or_else(|| own.clone());
    new.user = or_own(new.user.take(), &own.user);
    new.working_dir = or_own(new.working_dir.take(), &own.working_dir);
    new.stop_signal = or_own(new.stop_signal.take(), &own.stop_signal);
    new.exposed_ports = union(new.exposed_ports.take(), &own.exposed_ports);
    new.volumes = union(new.volumes.take(), &own.volumes);
    new.healthcheck = new.healthcheck.or_else(|| own.healthcheck.clone());
    new.on_build = new.on_build.or_else(|| own.on_build.clone());
    new.shell = new.shell.or_else(|| own.shell.clone());
    for change in &wanted.changes {
        instructions::apply(&mut new, change)?;
    }
    Ok(image_config(&new))
}

fn union(given: Option<Vec<String>>, own: &Option<Vec<String>>) -> Option<Vec<String>> {
    let mut all: Vec<String> = own.iter().flatten().cloned().chain(given.into_iter().flatten()).collect();
    all.sort();
    all.dedup();
    (!all.is_empty()).then_some(all)
}

/// As the OCI image specification writes it (config.md), with Docker's additions.
fn image_config(config: &ContainerConfig) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if !empty {
            fields.insert(name.to_owned(), value);
        }
    };
    let set = |list: &Option<Vec<String>>| {
        let set: HashMap<&String, Value> = list.iter().flatten().map(|entry| (entry, json!({}))).collect();
        json!(set)
    };
    put("User", json!(config.user));
    put("ExposedPorts", set(&config.exposed_ports));
    put("Env", json!(config.env));
    put("Entrypoint", json!(config.entrypoint));
    put("Cmd", json!(config.cmd));
    put("Volumes", set(&config.volumes));
    put("WorkingDir", json!(config.working_dir));
    put("Labels", json!(config.labels));
    put("StopSignal", json!(config.stop_signal));
    put("Healthcheck", json!(config.healthcheck));
    put("OnBuild", json!(config.on_build));
    put("Shell", json!(config.shell));
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_s_configuration_is_the_container_s_with_the_changes_on_top() {
        let mut record = crate::spec::tests::record(proa_sandbox::Isolation::Linux);
        record.config.env = Some(vec!["A=1".to_owned(), "B=2".to_owned()]);
        record.config.exposed_ports = Some(vec!["80/tcp".to_owned()]);
        record.config.hostname = Some("not the image's".to_owned());
        let changes = vec!["ENV B=3".to_owned(), "EXPOSE 81".to_owned(), "CMD [\"true\"]".to_owned()];
        let found = config(&record, &Wanted { changes, ..Wanted::default() }).unwrap();
        let expected =
            json!({ "Env": ["A=1", "B=3"], "ExposedPorts": { "80/tcp": {}, "81/tcp": {} }, "Cmd": ["true"] });
        assert_eq!(found, expected);
    }
}
