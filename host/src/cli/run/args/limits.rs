//! Flags about how much a container may use.

use clap::Args;

/// Its bounds.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// The most memory it may use, such as 64m
    #[arg(short, long, value_name = "BYTES")]
    pub(crate) memory: Option<String>,
    /// The memory that is set aside for it on this node
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_reservation: Option<String>,
    /// The most memory and swap together; -1 for no limit
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_swap: Option<String>,
    /// How readily its memory is swapped out, 0 to 100
    #[arg(long, value_name = "NUMBER")]
    pub(crate) memory_swappiness: Option<i64>,
    /// Accepted for Docker's sake, which ignores it too
    #[arg(long, hide = true, value_name = "BYTES")]
    pub(crate) kernel_memory: Option<String>,
    /// How many CPUs it may use, such as 0.5
    #[arg(long, value_name = "NUMBER")]
    pub(crate) cpus: Option<String>,
    /// Its weight where CPUs are short
    #[arg(short, long, value_name = "WEIGHT")]
    pub(crate) cpu_shares: Option<i64>,
    /// The period of its CPU limit in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub(crate) cpu_period: Option<i64>,
    /// Its CPU time in a period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub(crate) cpu_quota: Option<i64>,
    /// The period of its real-time limit in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub(crate) cpu_rt_period: Option<i64>,
    /// Its real-time CPU time in a period, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub(crate) cpu_rt_runtime: Option<i64>,
    /// The CPUs it may use, such as 0-3 or 0,1
    #[arg(long, value_name = "CPUS")]
    pub(crate) cpuset_cpus: Option<String>,
    /// The memory nodes it may use
    #[arg(long, value_name = "NODES")]
    pub(crate) cpuset_mems: Option<String>,
    /// Its weight at block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) blkio_weight: Option<u16>,
    /// Its weight at one device
    #[arg(long, value_name = "DEVICE:WEIGHT")]
    pub(crate) blkio_weight_device: Vec<String>,
    /// Bytes a second it may read from a device
    #[arg(long, value_name = "DEVICE:RATE")]
    pub(crate) device_read_bps: Vec<String>,
    /// Bytes a second it may write to a device
    #[arg(long, value_name = "DEVICE:RATE")]
    pub(crate) device_write_bps: Vec<String>,
    /// Reads a second from a device
    #[arg(long, value_name = "DEVICE:RATE")]
    pub(crate) device_read_iops: Vec<String>,
    /// Writes a second to a device
    #[arg(long, value_name = "DEVICE:RATE")]
    pub(crate) device_write_iops: Vec<String>,
    /// How many processes it may have; -1 for no limit
    #[arg(long, allow_negative_numbers = true, value_name = "NUMBER")]
    pub(crate) pids_limit: Option<i64>,
    /// Set a resource limit of its processes
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimit: Vec<String>,
    /// Do not end it when memory is short
    #[arg(long)]
    pub(crate) oom_kill_disable: bool,
    /// How readily it is ended when memory is short, -1000 to 1000
    #[arg(long, value_name = "NUMBER")]
    pub(crate) oom_score_adj: Option<i64>,
}
