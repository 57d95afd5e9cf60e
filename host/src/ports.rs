//! Published ports of a Wasm HTTP component: sockets opened here and handed to the worker, which holds them from then
//! on, whatever becomes of the host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use bollard_stubs::models::HostConfig;

use crate::error::{Error, Result};
use crate::state::record::Published;

/// What a request wants published; port 0 lets the kernel choose.
pub fn wanted(host: &HostConfig) -> Result<Vec<Published>> {
    let mut all = Vec::new();
    let bindings = host.port_bindings.iter().flatten();
    for (inside, outside) in bindings {
        let container_port = container_port(inside)?;
        for binding in outside.iter().flatten() {
            let address = match binding.host_ip.as_deref().unwrap_or_default() {
                "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                text => text.parse().map_err(|_| Error::Invalid(format!("Invalid address {text}")))?,
            };
            let port = match binding.host_port.as_deref().unwrap_or_default() {
                "" => 0,
                text => text.parse().map_err(|_| {
                    Error::Invalid(format!("invalid port specification: \"{text}\": one port is published at a time"))
                })?,
            };
            all.push(Published { address, port, container_port });
        }
    }
    all.sort_by_key(|port| (port.container_port, port.port));
    Ok(all)
}

/// Opens the sockets and says which ports they have.
///
/// # Errors
/// `Publish` with the port when another program has it.
pub fn open(wanted: &[Published]) -> Result<(Vec<TcpListener>, Vec<Published>)> {
    let (mut listeners, mut ports) = (Vec::new(), Vec::new());
    for port in wanted {
        let address = SocketAddr::new(port.address, port.port);
        let fail = |source| Error::Publish { port: port.port, address: port.address.to_string(), source };
        let listener = TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let chosen = listener.local_addr().map_err(fail)?.port();
        listeners.push(listener);
        ports.push(Published { port: chosen, ..port.clone() });
    }
    Ok((listeners, ports))
}

fn container_port(text: &str) -> Result<u16> {
    let invalid = || Error::Invalid(format!("invalid port specification: \"{text}\""));
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if protocol != "tcp" {
        return Err(Error::Invalid(format!("only tcp ports can be published, not `{text}`")));
    }
    port.parse().map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard_stubs::models::PortBinding;

    use super::*;

    fn host(inside: &str, ip: &str, port: &str) -> HostConfig {
        let binding = PortBinding { host_ip: Some(ip.to_owned()), host_port: Some(port.to_owned()) };
        HostConfig {
            port_bindings: Some(HashMap::from([(inside.to_owned(), Some(vec![binding]))])),
            ..Default::default()
        }
    }

    #[test]
    fn a_port_in_use_is_refused_by_name() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let error = open(&wanted(&host("80/tcp", "127.0.0.1", &port)).unwrap()).unwrap_err();
        assert!(error.sentence().contains(&port), "{}", error.sentence());
    }

    #[test]
    fn port_zero_and_none_let_the_kernel_choose() {
        for port in ["", "0"] {
            let (_, ports) = open(&wanted(&host("80/tcp", "127.0.0.1", port)).unwrap()).unwrap();
            assert!(ports[0].port > 0 && ports[0].container_port == 80);
        }
        for (inside, port) in [("80/udp", "1"), ("80/tcp", "8000-8010"), ("x", "1")] {
            assert!(wanted(&host(inside, "", port)).is_err(), "{inside} {port}");
        }
    }
}
