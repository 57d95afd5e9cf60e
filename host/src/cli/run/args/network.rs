//! Flags about a container's network and names.

use clap::Args;

/// Whom it can reach and under which names.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// The host name inside
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// The domain name inside
    #[arg(long, value_name = "NAME")]
    pub(crate) domainname: Option<String>,
    /// The network: none, host, or the default
    #[arg(long, alias = "net", value_name = "NETWORK")]
    pub(crate) network: Vec<String>,
    /// One more name in the network
    #[arg(long, alias = "net-alias", value_name = "NAME")]
    pub(crate) network_alias: Vec<String>,
    /// The IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<String>,
    /// The IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip6: Option<String>,
    /// A link-local address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) link_local_ip: Vec<String>,
    /// The hardware address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mac_address: Option<String>,
    /// Know another container by name
    #[arg(long, value_name = "CONTAINER[:ALIAS]")]
    pub(crate) link: Vec<String>,
    /// Publish a port of a Wasm HTTP container
    #[arg(short, long, value_name = "[[IP:]PORT:]PORT")]
    pub(crate) publish: Vec<String>,
    /// Publish all exposed ports on free ones
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Say that it listens on a port
    #[arg(long, value_name = "PORT[-PORT][/PROTOCOL]")]
    pub(crate) expose: Vec<String>,
    /// A name server
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<String>,
    /// An option of resolv.conf
    #[arg(long, alias = "dns-opt", value_name = "OPTION")]
    pub(crate) dns_option: Vec<String>,
    /// A domain in which short names are looked up
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
    /// A line of /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub(crate) add_host: Vec<String>,
}
