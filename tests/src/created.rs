//! Containers made by the body of `POST /containers/create`, for options whose meaning is judged and not their spelling.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::container::Container;
use crate::isolation::Isolation;
use crate::node::Node;

/// A container that was made and the warnings that came with it.
#[derive(Debug)]
pub struct Created<'a> {
    pub container: Container<'a>,
    pub warnings: Vec<String>,
}

/// The body for `command` in `image` with `host` as its HostConfig.
pub fn body(isolation: Isolation, image: &str, command: &[&str], host: &Value) -> Value {
    let mut host = host.clone();
    host["Isolation"] = json!(isolation.name());
    json!({ "Image": image, "Cmd": command, "HostConfig": host })
}

impl Node {
    /// Makes a container and does not start it.
    ///
    /// # Errors
    /// With the host's own words when it refuses.
    pub fn create(&self, body: &Value) -> Result<Created<'_>> {
        let answer = self.post("/containers/create", "application/json", body.to_string().as_bytes())?.success()?;
        let answer = answer.json()?;
        let id = answer["Id"].as_str().context("an answer has an Id")?.to_owned();
        let warnings = answer["Warnings"].as_array().context("an answer has Warnings")?;
        let warnings = warnings.iter().filter_map(|warning| warning.as_str().map(str::to_owned)).collect();
        Ok(Created { container: Container::new(self, id), warnings })
    }

    /// The status and the sentence of a body that is refused.
    ///
    /// # Errors
    /// When it is not.
    pub fn refuses(&self, body: &Value) -> Result<(u16, String)> {
        let answer = self.post("/containers/create", "application/json", body.to_string().as_bytes())?;
        let said = answer.json()?;
        if let Some(id) = said["Id"].as_str() {
            self.proa(&["rm", "-f", id])?.success()?;
        }
        let sentence = said["message"].as_str().with_context(|| format!("it was not refused: {body}"))?;
        Ok((answer.status, sentence.to_owned()))
    }
}

impl Created<'_> {
    /// Starts it and waits for its end: its exit code and everything it printed.
    ///
    /// # Errors
    /// When it does not start or does not end.
    pub fn run(&self) -> Result<(i32, String)> {
        self.container.proa(&["start"])?.success()?;
        let code = self.container.wait()?;
        let logs = self.container.logs()?;
        Ok((code, format!("{}{}", String::from_utf8_lossy(&logs.stdout), String::from_utf8_lossy(&logs.stderr))))
    }
}
