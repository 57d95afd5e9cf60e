//! One container's use as the API tells it, and as people read it.

use serde_json::{Value, json};

use crate::cli::human::{memory, short_id, size};

/// What one answer of `GET /containers/{id}/stats` says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    container: String,
    id: String,
    name: String,
    /// Per cent of one CPU.
    cpu: f64,
    memory: u64,
    limit: u64,
    received: u64,
    sent: u64,
    read: u64,
    written: u64,
    pids: u64,
}

impl Sample {
    pub(super) fn new(container: &str, stats: &Value) -> Sample {
        let number = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let text = |field: &str| stats[field].as_str().unwrap_or_default();
        let of_networks = |field: &str| -> u64 {
            let networks = stats["networks"].as_object().into_iter().flatten();
            networks.filter_map(|(_, network)| network[field].as_u64()).sum()
        };
        let of_devices = |operation: &str| -> u64 {
            let all = stats.pointer("/blkio_stats/io_service_bytes_recursive").and_then(Value::as_array);
            let is_meant = |entry: &&Value| entry["op"].as_str().is_some_and(|op| op.eq_ignore_ascii_case(operation));
            all.into_iter().flatten().filter(is_meant).filter_map(|entry| entry["value"].as_u64()).sum()
        };
        Sample {
            container: container.to_owned(),
            id: text("id").to_owned(),
            name: text("name").trim_start_matches('/').to_owned(),
            cpu: cpu(stats),
            memory: without_cache(stats),
            limit: number("/memory_stats/limit"),
            received: of_networks("rx_bytes"),
            sent: of_networks("tx_bytes"),
            read: of_devices("read"),
            written: of_devices("write"),
            pids: number("/pids_stats/current"),
        }
    }

    /// A row under the names that Docker's formats use.
    pub(super) fn object(&self, whole: bool) -> Value {
        let share = if self.limit == 0 { 0.0 } else { self.memory as f64 * 100.0 / self.limit as f64 };
        json!({
            "BlockIO": format!("{} / {}", size(self.read), size(self.written)),
            "CPUPerc": format!("{:.2}%", self.cpu),
            "Container": self.container,
            "ID": if whole { &self.id } else { short_id(&self.id) },
            "MemPerc": format!("{share:.2}%"),
            "MemUsage": format!("{} / {}", memory(self.memory), memory(self.limit)),
            "Name": self.name,
            "NetIO": format!("{} / {}", size(self.received), size(self.sent)),
            "PIDs": self.pids.to_string(),
        })
    }
}

/// The share of the node's CPU time since the previous sample, in per cent of one CPU.
fn cpu(stats: &Value) -> f64 {
    let number = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let used = number("/cpu_stats/cpu_usage/total_usage").saturating_sub(number("/precpu_stats/cpu_usage/total_usage"));
    let passed = number("/cpu_stats/system_cpu_usage").saturating_sub(number("/precpu_stats/system_cpu_usage"));
    let per_cpu = stats.pointer("/cpu_stats/cpu_usage/percpu_usage").and_then(Value::as_array).map_or(0, Vec::len);
    let online = match number("/cpu_stats/online_cpus") {
        0 => per_cpu as f64,
        online => online as f64,
    };
    if passed == 0 { 0.0 } else { used as f64 / passed as f64 * online * 100.0 }
}

/// What the kernel would give back at once does not count, as Docker has it: `total_inactive_file` on cgroup v1,
/// `inactive_file` on v2.
fn without_cache(stats: &Value) -> u64 {
    let memory = &stats["memory_stats"];
    let usage = memory["usage"].as_u64().unwrap_or_default();
    let of = |field: &str| memory["stats"][field].as_u64();
    let cache = of("total_inactive_file").or_else(|| of("inactive_file")).unwrap_or_default();
    if cache < usage { usage - cache } else { usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_reads_as_in_docker() {
        let stats = json!({
            "id": "0123456789abcdef", "name": "/web", "pids_stats": {"current": 3},
            "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 2},
            "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
            "memory_stats": {"usage": 2 << 20, "limit": 64 << 20, "stats": {"inactive_file": 1 << 20}},
            "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 20}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 4096}, {"op": "write", "value": 1}]},
        });
        let row = Sample::new("web", &stats).object(false);
        let expected = json!({
            "BlockIO": "4.1kB / 1B", "CPUPerc": "40.00%", "Container": "web", "ID": "0123456789ab", "MemPerc": "1.56%",
            "MemUsage": "1MiB / 64MiB", "Name": "web", "NetIO": "1kB / 20B", "PIDs": "3",
        });
        assert_eq!(row, expected);
    }
}
