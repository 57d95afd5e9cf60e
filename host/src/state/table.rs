//! Every container of the root by id and name. Names are unique, ids are found by prefix.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::{Error, Result};
use crate::state::container::Container;

/// Every container of the root.
#[derive(Debug, Default)]
pub struct Table {
    index: RwLock<Index>,
}

#[derive(Debug, Default)]
struct Index {
    by_id: BTreeMap<String, Arc<Container>>,
    /// Name to id; also of containers that are still being made.
    by_name: HashMap<String, String>,
}

impl Table {
    /// Takes `name` for the container `id`.
    ///
    /// # Errors
    /// `ReserveName` when another container has it.
    pub fn reserve(&self, name: &str, id: &str) -> Result<()> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = index.by_name.get(name) {
            return Err(Error::ReserveName { name: name.to_owned(), holder: holder.clone() });
        }
        index.by_name.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    /// Gives `name` back, if `id` has it.
    pub fn release(&self, name: &str, id: &str) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if index.by_name.get(name).is_some_and(|holder| holder == id) {
            index.by_name.remove(name);
        }
    }

    /// Adds a container whose name is reserved.
    pub fn insert(&self, container: Arc<Container>) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.by_id.insert(container.id().to_owned(), container);
    }

    /// Takes a container out, its name too.
    pub fn remove(&self, container: &Container) {
        let name = container.with(|record| record.name.clone());
        self.release(&name, container.id());
        self.index.write().unwrap_or_else(PoisonError::into_inner).by_id.remove(container.id());
    }

    /// The container that `key` names: its id, its name (with or without a slash), or an unambiguous prefix of its id,
    /// in this order, as Docker looks.
    pub fn find(&self, key: &str) -> Result<Arc<Container>> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(container) = index.by_id.get(key) {
            return Ok(container.clone());
        }
        let name = key.strip_prefix('/').unwrap_or(key);
        if let Some(container) = index.by_name.get(name).and_then(|id| index.by_id.get(id)) {
            return Ok(container.clone());
        }
        let missing = || Error::FindContainer(key.to_owned());
        if key.is_empty() {
            return Err(missing());
        }
        let mut found = index.by_id.range(key.to_owned()..).take_while(|(id, _)| id.starts_with(key));
        let (_, first) = found.next().ok_or_else(missing)?;
        match found.next() {
            Some(_) => Err(Error::AmbiguousPrefix(key.to_owned())),
            None => Ok(first.clone()),
        }
    }

    /// Every container, in no particular order.
    pub fn all(&self) -> Vec<Arc<Container>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).by_id.values().cloned().collect()
    }
}

/// Whether Docker would take `name`: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub fn check_name(name: &str) -> Result<()> {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let valid = name.len() >= 2 && name.as_bytes()[0].is_ascii_alphanumeric() && name.bytes().all(rest);
    if valid {
        return Ok(());
    }
    Err(Error::Invalid(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")))
}
