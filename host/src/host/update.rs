//! Other limits for a container, also while it runs.

use bollard_stubs::models::{ContainerUpdateBody, HostConfig, RestartPolicyNameEnum};
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxPids, LinuxPidsBuilder, LinuxResources};
use proa_sandbox::Offers;

use crate::checks::check_limits;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::state::{Container, Record, Status};
use crate::{scheduler, spec};

/// The period Docker divides `--cpus` by, in microseconds.
const PERIOD: i64 = 100_000;

impl Host {
    /// Changes limits and restart policy; what `wanted` does not name stays. Whole or not at all, as far as the kernel
    /// lets old limits be set again.
    ///
    /// # Errors
    /// `Invalid` with one sentence for what makes no sense or cannot be held, `Admit` when the node has no room, and
    /// `Conflict` when more is in use than should be allowed.
    pub async fn update(&self, container: &Container, wanted: &ContainerUpdateBody) -> Result<Vec<String>> {
        let offers = self.runtimes().await?.offers();
        let _turn = container.turn.lock().await;
        let before = container.record();
        if matches!(before.status, Status::Removing | Status::Dead) {
            let id = container.id();
            let sentence =
                format!("Cannot update container {id}: container is marked for removal and cannot be \"update\"");
            return Err(Error::Conflict(sentence));
        }
        let mut warnings = Vec::new();
        let after = merged(&before, wanted, &offers, &mut warnings).map_err(|error| cannot(container, error))?;
        let running = container.running().ok();
        container.charge_for(after.demand)?;
        if let Some(sandbox) = &running {
            let failed =
                |source| Error::Sandbox { attempt: "update container", container: container.id().to_owned(), source };
            if let Err(source) = sandbox.update(&changes(&after, wanted)?).await {
                let _ = container.charge_for(before.demand);
                // Some may have been set before one was refused.
                if let Ok(old) = changes(&before, wanted) {
                    let _ = sandbox.update(&old).await;
                }
                return Err(failed(source));
            }
        }
        container.edit(|record| {
            record.host_config = after.host_config;
            record.demand = after.demand;
        })?;
        self.events.container(container, "update", &[]);
        Ok(warnings)
    }
}

fn cannot(container: &Container, error: Error) -> Error {
    match error {
        Error::Invalid(why) => Error::Invalid(format!("Cannot update container {}: {why}", container.id())),
        Error::Conflict(why) => Error::Conflict(format!("Cannot update container {}: {why}", container.id())),
        error => error,
    }
}

/// The record as it is to be.
fn merged(
    before: &Record,
    wanted: &ContainerUpdateBody,
    offers: &Offers,
    warnings: &mut Vec<String>,
) -> Result<Record> {
    refuse(before, wanted)?;
    let mut after = before.clone();
    let host = &mut after.host_config;
    // What Docker's create writes for the user.
    if host.memory_swap.unwrap_or(0) == 0 {
        host.memory_swap = host.memory.filter(|memory| *memory > 0).map(|memory| memory.saturating_mul(2));
    }
    let given = |value: Option<i64>| value.filter(|value| *value != 0);
    let swap = host.memory_swap.unwrap_or(0);
    if given(wanted.memory).is_some_and(|memory| swap > 0 && memory > swap) && given(wanted.memory_swap).is_none() {
        let sentence =
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time";
        return Err(Error::Conflict(sentence.to_owned()));
    }
    let numbers = [
        (&mut host.memory, wanted.memory),
        (&mut host.memory_swap, wanted.memory_swap),
        (&mut host.memory_reservation, wanted.memory_reservation),
        (&mut host.cpu_shares, wanted.cpu_shares),
        (&mut host.cpu_period, wanted.cpu_period),
        (&mut host.cpu_quota, wanted.cpu_quota),
        (&mut host.nano_cpus, wanted.nano_cpus),
    ];
    for (own, new) in numbers {
        *own = given(new).or(*own);
    }
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    for (own, new) in [(&mut host.cpuset_cpus, &wanted.cpuset_cpus), (&mut host.cpuset_mems, &wanted.cpuset_mems)] {
        *own = text(new).or(own.take());
    }
    host.pids_limit = wanted.pids_limit.or(host.pids_limit);
    host.blkio_weight = weight(wanted).or(host.blkio_weight);
    if let Some(policy) = &wanted.restart_policy
        && !matches!(policy.name, None | Some(RestartPolicyNameEnum::EMPTY))
    {
        host.restart_policy = Some(policy.clone());
    }
    check_limits(host, offers, warnings)?;
    check_policy(host)?;
    let bytes = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
    after.demand = scheduler::demand(before.isolation, bytes(host.memory_reservation), bytes(host.memory));
    Ok(after)
}

fn check_policy(host: &HostConfig) -> Result<()> {
    let Some(policy) = &host.restart_policy else { return Ok(()) };
    let name = policy.name.unwrap_or(RestartPolicyNameEnum::EMPTY);
    let retries = policy.maximum_retry_count.unwrap_or(0);
    let asked = !matches!(name, RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO);
    if asked && host.auto_remove == Some(true) {
        let sentence = "Restart policy cannot be updated because AutoRemove is enabled for the container";
        return Err(Error::Conflict(sentence.to_owned()));
    }
    if retries < 0 {
        return Err(Error::Invalid("invalid restart policy: maximum retry count cannot be negative".to_owned()));
    }
    if retries > 0 && name != RestartPolicyNameEnum::ON_FAILURE {
        let sentence = "invalid restart policy: maximum retry count can only be used with 'on-failure'";
        return Err(Error::Invalid(sentence.to_owned()));
    }
    Ok(())
}

/// What makes no sense together, and what cannot be held here or under this isolation.
fn refuse(before: &Record, wanted: &ContainerUpdateBody) -> Result<()> {
    let host = &before.host_config;
    let set = |value: Option<i64>| value.is_some_and(|value| value != 0);
    let positive = |value: Option<i64>| value.is_some_and(|value| value > 0);
    let named = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let conflicts = [
        (
            positive(wanted.nano_cpus) && set(host.cpu_period),
            "Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            positive(wanted.nano_cpus) && set(host.cpu_quota),
            "Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            set(wanted.cpu_period) && positive(host.nano_cpus),
            "CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            set(wanted.cpu_quota) && positive(host.nano_cpus),
            "CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
    ];
    if let Some((_, sentence)) = conflicts.iter().find(|(met, _)| *met) {
        return Err(Error::Conflict(format!("Conflicting options: {sentence}")));
    }
    let unsupported =
        [(set(wanted.cpu_realtime_period) || set(wanted.cpu_realtime_runtime), "a real-time processor limit")];
    if let Some((_, what)) = unsupported.iter().find(|(met, _)| *met) {
        return Err(Error::Invalid(format!("{what} cannot be changed while a container exists")));
    }
    if !before.isolation.is_wasm() {
        return Ok(());
    }
    let quota = set(wanted.nano_cpus) || set(wanted.cpu_quota) || set(wanted.cpu_period);
    let refused = [
        (positive(wanted.pids_limit), "a Wasm guest has no processes that a limit could count"),
        (set(wanted.memory_swap), "a Wasm guest has no swap that a limit could bound"),
        (set(wanted.cpu_shares), "a Wasm guest has no processor shares of its own"),
        (weight(wanted).is_some(), "a Wasm guest has no weight at block devices of its own"),
        (named(&wanted.cpuset_cpus) || named(&wanted.cpuset_mems), "a Wasm guest cannot be bound to processors"),
        (
            quota && before.isolation == proa_sandbox::Isolation::Wasm,
            "a processor limit cannot be held under `wasm` yet; `wasm-process` holds it",
        ),
    ];
    match refused.iter().find(|(met, _)| *met) {
        Some((_, sentence)) => Err(Error::Invalid((*sentence).to_owned())),
        None => Ok(()),
    }
}

/// What a running container must be told, with the values that `record` has.
fn changes(record: &Record, wanted: &ContainerUpdateBody) -> Result<LinuxResources> {
    let host = &record.host_config;
    let mut resources = LinuxResources::default();
    resources.set_memory(memory(host, wanted)).set_cpu(cpu(host, wanted)).set_pids(pids(host, wanted)?);
    if weight(wanted).is_some() {
        resources.set_block_io(spec::resources::resources(record)?.block_io().clone());
    }
    Ok(resources)
}

/// Docker's zero leaves it.
fn weight(wanted: &ContainerUpdateBody) -> Option<u16> {
    wanted.blkio_weight.filter(|weight| *weight != 0)
}

fn memory(host: &HostConfig, wanted: &ContainerUpdateBody) -> Option<LinuxMemory> {
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    let bounds = set(wanted.memory).is_some() || set(wanted.memory_swap).is_some();
    if !bounds && set(wanted.memory_reservation).is_none() {
        return None;
    }
    let mut memory = LinuxMemory::default();
    if bounds {
        // Without a limit from now on, where there was none before.
        memory.set_limit(Some(set(host.memory).unwrap_or(-1))).set_swap(Some(set(host.memory_swap).unwrap_or(-1)));
    }
    memory.set_reservation(set(wanted.memory_reservation).and(set(host.memory_reservation)));
    Some(memory)
}

fn cpu(host: &HostConfig, wanted: &ContainerUpdateBody) -> Option<LinuxCpu> {
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    let quota = [wanted.nano_cpus, wanted.cpu_quota, wanted.cpu_period].into_iter().any(|value| set(value).is_some());
    let shares = set(wanted.cpu_shares).and(host.cpu_shares);
    let chosen = |new: &Option<String>, own: &Option<String>| {
        new.as_ref().filter(|text| !text.is_empty()).and_then(|_| own.clone().filter(|text| !text.is_empty()))
    };
    let cpus = chosen(&wanted.cpuset_cpus, &host.cpuset_cpus);
    let mems = chosen(&wanted.cpuset_mems, &host.cpuset_mems);
    if !quota && shares.is_none() && cpus.is_none() && mems.is_none() {
        return None;
    }
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(shares.map(i64::cast_unsigned)).set_cpus(cpus).set_mems(mems);
    if quota {
        let period = set(host.cpu_period).filter(|period| *period > 0).unwrap_or(PERIOD);
        let quota = match host.nano_cpus.filter(|nano| *nano > 0) {
            Some(nano) => nano.saturating_mul(period) / 1_000_000_000,
            None => set(host.cpu_quota).unwrap_or(-1),
        };
        cpu.set_quota(Some(quota)).set_period(Some(period.cast_unsigned()));
    }
    Some(cpu)
}

/// Docker's `null` leaves it; 0 and below are without limit.
fn pids(host: &HostConfig, wanted: &ContainerUpdateBody) -> Result<Option<LinuxPids>> {
    if wanted.pids_limit.is_none() {
        return Ok(None);
    }
    let limit = host.pids_limit.filter(|limit| *limit > 0).unwrap_or(-1);
    let built = LinuxPidsBuilder::default().limit(limit).build();
    built.map(Some).map_err(|error| Error::Invalid(format!("the limit of processes cannot be set: {error}")))
}

#[cfg(test)]
mod tests {
    use proa_sandbox::Isolation;

    use super::*;

    fn record(isolation: Isolation) -> Record {
        crate::spec::tests::record(isolation)
    }

    fn merge(before: &Record, wanted: &ContainerUpdateBody) -> Result<Record> {
        let offers = Offers { swap: true, swappiness: true, ..Offers::default() };
        merged(before, wanted, &offers, &mut Vec::new())
    }

    #[test]
    fn what_is_not_named_stays() {
        let mut before = record(Isolation::Linux);
        before.host_config.memory = Some(64 << 20);
        before.host_config.cpu_shares = Some(512);
        let wanted = ContainerUpdateBody { memory: Some(32 << 20), cpu_shares: Some(0), ..Default::default() };
        let after = merge(&before, &wanted).unwrap();
        assert_eq!((after.host_config.memory, after.host_config.cpu_shares), (Some(32 << 20), Some(512)));
        let told = changes(&after, &wanted).unwrap();
        let memory = told.memory().unwrap();
        assert_eq!((memory.limit(), memory.swap()), (Some(32 << 20), Some(128 << 20)), "swap is what create made it");
        assert!(told.cpu().is_none() && told.pids().is_none());
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused_with_docker_s_words() {
        let mut before = record(Isolation::Linux);
        before.host_config.memory = Some(64 << 20);
        before.host_config.nano_cpus = Some(500_000_000);
        let check = |wanted: ContainerUpdateBody, words: &str| {
            let error = merge(&before, &wanted).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        check(
            ContainerUpdateBody { memory: Some(1 << 30), ..Default::default() },
            "update the memoryswap at the same time",
        );
        check(ContainerUpdateBody { cpu_quota: Some(5000), ..Default::default() }, "NanoCPUs has already been set");
        check(ContainerUpdateBody { memory: Some(1 << 20), ..Default::default() }, "Minimum memory limit");
    }

    #[test]
    fn a_wasm_guest_is_told_what_it_cannot_have() {
        let refused = |isolation, wanted: ContainerUpdateBody| merge(&record(isolation), &wanted).is_err();
        let cpus = ContainerUpdateBody { nano_cpus: Some(500_000_000), ..Default::default() };
        assert!(refused(Isolation::Wasm, cpus.clone()) && !refused(Isolation::WasmProcess, cpus));
        let pids = ContainerUpdateBody { pids_limit: Some(5), ..Default::default() };
        assert!(refused(Isolation::WasmProcess, pids.clone()) && !refused(Isolation::LinuxUserns, pids));
        assert!(!refused(Isolation::Wasm, ContainerUpdateBody { memory: Some(64 << 20), ..Default::default() }));
    }

    #[test]
    fn no_limit_of_processes_is_told_as_such() {
        let mut before = record(Isolation::Linux);
        before.host_config.pids_limit = Some(10);
        let wanted = ContainerUpdateBody { pids_limit: Some(0), ..Default::default() };
        let after = merge(&before, &wanted).unwrap();
        assert_eq!(changes(&after, &wanted).unwrap().pids().unwrap().limit(), -1);
    }
}
