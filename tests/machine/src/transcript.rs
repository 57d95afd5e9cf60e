//! What a machine says on its second serial line: steps with a name, their output and exit code.

use std::collections::HashMap;

use anyhow::{Context, Result};

/// What one step of the machine's script left behind.
#[derive(Debug, Clone)]
pub struct Step {
    pub code: i32,
    pub text: String,
}

/// Everything said, by the names of the steps: `@begin NAME`, the output, `@end NAME CODE`; at last `@over`.
#[derive(Debug)]
pub struct Transcript {
    steps: HashMap<String, Step>,
}

impl Transcript {
    /// What the step `name` left behind.
    ///
    /// # Errors
    /// When there was no such step.
    pub fn step(&self, name: &str) -> Result<&Step> {
        self.steps.get(name).with_context(|| format!("the machine's script has no step `{name}`"))
    }

    pub(crate) fn parse(said: &str) -> Result<Transcript> {
        let mut steps = HashMap::new();
        let mut lines = said.lines();
        while let Some(line) = lines.next() {
            let Some(name) = line.strip_prefix("@begin ") else { continue };
            let end = format!("@end {name} ");
            let mut text = Vec::new();
            let code = loop {
                let line = lines.next().with_context(|| format!("the step `{name}` has no end"))?;
                match line.strip_prefix(&end) {
                    Some(code) => break code.parse()?,
                    None => text.push(line),
                }
            };
            let text = text.join("\n").trim_end().to_owned();
            steps.insert(name.to_owned(), Step { code, text });
        }
        Ok(Transcript { steps })
    }
}
