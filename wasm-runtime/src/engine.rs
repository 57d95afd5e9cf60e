//! The engine: its settings in one place, its host functions, and the clock that lets it interrupt a guest.

mod gate;
mod ticker;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::{Error, Result};
use crate::guest::State;
use crate::wasi;
pub(crate) use gate::Gate;
pub(crate) use ticker::{Metered, Ticker};

/// The engine's version; a part of every artifact's name, pinned in the workspace's `Cargo.toml`.
const VERSION: &str = "48.0.8";

/// Pages of an idle memory or table that are cleared and kept rather than given back, in bytes: a small guest's whole
/// memory, so that its next instance takes no page fault.
const KEPT_RESIDENT: usize = 64 << 10;

/// Frames of a backtrace.
const FRAMES: usize = 64;

/// Settings that compiled code depends on; compiler and worker must agree, [`fingerprint`] names them.
fn settings() -> Config {
    let mut config = Config::new();
    // Interruption: guests poll the epoch in loops and calls, see `Ticker`.
    config.epoch_interruption(true);
    // WASI up to 0.2 needs no task tables; they cost every store dearly (ARCHITECTURE.md, "Facts about the libraries").
    config.concurrency_support(false);
    // Backtraces of a trap, with the names of the module's name section, which compiled code keeps. Shared memory stays
    // off (the crate's `threads` feature): it carries no security promise in wasmtime's tiers.
    config.wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES));
    config.generate_address_map(true);
    config.memory_init_cow(true);
    config
}

/// A name for engine version, settings and processor features: code compiled under one name loads under the same.
///
/// # Errors
/// `Engine` when the settings do not suit this machine.
pub fn fingerprint() -> Result<String> {
    let engine = wasmtime::Engine::new(&settings()).map_err(Error::Engine)?;
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    Ok(format!("{VERSION}-{:016x}", hasher.finish()))
}

/// An engine with its host functions defined.
pub struct Engine {
    wasm: wasmtime::Engine,
    modules: wasmtime::Linker<State>,
    components: wasmtime::component::Linker<State>,
    ticker: Arc<Ticker>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine to compile with; it allocates nothing beforehand.
    pub fn for_compiling() -> Result<Engine> {
        Engine::new(&settings())
    }

    /// An engine to run up to `instances` guests or requests at once. Reserves their address space; where that is
    /// scarce (`RLIMIT_AS`, strict overcommit) it settles for fewer.
    pub fn for_running(instances: u32) -> Result<Engine> {
        let mut instances = instances.max(1);
        loop {
            let mut config = settings();
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)));
            match Engine::new(&config) {
                Err(Error::Engine(_)) if instances > 16 => instances /= 4,
                other => return other,
            }
        }
    }

    fn new(config: &Config) -> Result<Engine> {
        let wasm = wasmtime::Engine::new(config).map_err(Error::Engine)?;
        let modules = wasi::module_linker(&wasm).map_err(Error::Link)?;
        let components = wasi::component_linker(&wasm).map_err(Error::Link)?;
        let ticker = Ticker::new(wasm.clone());
        Ok(Engine { wasm, modules, components, ticker })
    }

    pub(crate) fn wasm(&self) -> &wasmtime::Engine {
        &self.wasm
    }

    pub(crate) fn modules(&self) -> &wasmtime::Linker<State> {
        &self.modules
    }

    pub(crate) fn components(&self) -> &wasmtime::component::Linker<State> {
        &self.components
    }

    pub(crate) fn ticker(&self) -> &Arc<Ticker> {
        &self.ticker
    }
}

/// Slots for `instances` guests. A component is several core instances (the program, the WASI 0.1 adapter, shims).
fn pool(instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(4))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(2))
        .total_stacks(instances)
        .max_memories_per_module(4)
        .max_tables_per_module(4)
        .max_memories_per_component(16)
        .max_tables_per_component(32)
        .max_core_instances_per_component(64)
        .table_elements(65_536)
        .linear_memory_keep_resident(KEPT_RESIDENT)
        .table_keep_resident(KEPT_RESIDENT)
        // Kernel 6.7 on: ask which pages are dirty instead of clearing all. The engine probes.
        .pagemap_scan(Enabled::Auto);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_has_one_fingerprint() {
        assert_eq!(fingerprint().unwrap(), fingerprint().unwrap());
    }

    #[test]
    fn code_from_the_compiling_engine_suits_the_running_one() {
        let compiling = Engine::for_compiling().unwrap();
        let running = Engine::for_running(4).unwrap();
        let hash = |engine: &Engine| {
            let mut hasher = DefaultHasher::new();
            engine.wasm().precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash(&compiling), hash(&running));
    }
}
