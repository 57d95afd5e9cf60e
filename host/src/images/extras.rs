//! What Docker puts into an image's configuration beyond the OCI specification, and a container takes from it.

use std::sync::{Arc, PoisonError};

use bollard_stubs::models::{ContainerConfig, HealthConfig};
use proa_registry::Image;
use serde::Deserialize;

use crate::error::Result;
use crate::healing::{HTTP_LABEL, health};
use crate::images::Images;
use crate::request::Request;

/// The fields of `config` that are Docker's own.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Extras {
    pub healthcheck: Option<HealthConfig>,
    /// What runs the line of a `CMD-SHELL` check.
    pub shell: Option<Vec<String>>,
}

impl Extras {
    /// Puts them below what a request says: its own check, its label for an HTTP check, its shell.
    pub fn put_below(self, config: &mut ContainerConfig, request: &Request) {
        let own = request.config.healthcheck.clone();
        let named = own.as_ref().and_then(|check| check.test.as_ref()).is_some_and(|test| !test.is_empty());
        let own = match request.label(HTTP_LABEL).filter(|_| !named) {
            Some(path) => {
                let test = Some(vec!["HTTP".to_owned(), path.to_owned()]);
                Some(HealthConfig { test, ..own.unwrap_or_default() })
            }
            None => own,
        };
        config.healthcheck = health::merge(self.healthcheck, own);
        config.shell = config.shell.take().filter(|shell| !shell.is_empty()).or(self.shell);
    }
}

impl Images {
    /// The extras of an image; none where they are not what Docker writes.
    pub async fn extras(&self, image: &Arc<Image>, name: &str) -> Result<Extras> {
        let key = image.descriptor.digest.clone();
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).extras.get(&key) {
            return Ok(known.clone());
        }
        let mut config = self.config_json(image.clone(), name).await?;
        let extras: Extras = serde_json::from_value(config["config"].take()).unwrap_or_default();
        self.known.write().unwrap_or_else(PoisonError::into_inner).extras.insert(key, extras.clone());
        Ok(extras)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_own_fields_are_found_among_the_others() {
        let config = serde_json::json!({ "Cmd": ["a"], "Healthcheck": { "Test": ["CMD", "b"], "Retries": 2 },
            "Shell": ["/bin/ash", "-c"] });
        let extras: Extras = serde_json::from_value(config).unwrap();
        assert_eq!(extras.healthcheck.unwrap().retries, Some(2));
        assert_eq!(extras.shell.unwrap(), ["/bin/ash", "-c"]);
    }
}
