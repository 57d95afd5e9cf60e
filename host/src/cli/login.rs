//! `login` and `logout`: whose name and password a registry is told. The host tries them; they are kept where Docker
//! keeps its own, in config.json or with the helper program that it names.

use std::io::{self, BufRead, Read, Write};

use anyhow::{Context, bail};
use clap::Args;
use proa_registry::{Credentials, Keeper, Login, docker_config, forget_login, keep_login};
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::door::Door;
use super::terminal;

/// The registry where none is named, and the address by which Docker's clients call it.
const HUB: &str = "docker.io";
const HUB_ADDRESS: &str = "https://index.docker.io/v1/";
/// No password is longer than this.
const LONGEST: u64 = 64 * 1024;

/// `proa login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The user
    #[arg(short, long)]
    username: Option<String>,
    /// The password, which others on this machine can then see
    #[arg(short, long)]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// The registry; Docker Hub otherwise
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
}

/// `proa logout`.
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry; Docker Hub otherwise
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    identity_token: Option<String>,
    status: Option<String>,
}

pub(crate) fn login(args: LoginArgs, door: &Door) -> anyhow::Result<u8> {
    let path = docker_config().context("find a place for the login\nhint: set DOCKER_CONFIG or HOME")?;
    let registry = registry(args.registry.as_deref());
    let mut login = asked(&args, &registry)?;
    let body = json!({
        "username": login.username,
        "password": login.password,
        "identitytoken": login.identity_token,
        "serveraddress": if registry == HUB { HUB_ADDRESS } else { &registry },
    });
    let answer: Answer = Client::connect(door)?.post_json("/auth", &body)?;
    if let Some(token) = answer.identity_token.filter(|token| !token.is_empty()) {
        // The token stands in for the password, which then nobody needs to keep.
        (login.password, login.identity_token) = (String::new(), Some(token));
    }
    if let Keeper::File(path) = keep_login(&path, &registry, &login).context("keep the login")? {
        writeln!(
            io::stderr(),
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
             Configure a credential helper to remove this warning. See\n\
             https://docs.docker.com/go/credential-store/\n",
            path.display()
        )?;
    }
    writeln!(io::stdout(), "{}", answer.status.as_deref().unwrap_or("Login Succeeded"))?;
    Ok(0)
}

pub(crate) fn logout(args: LogoutArgs) -> anyhow::Result<u8> {
    let registry = registry(args.registry.as_deref());
    let told = if registry == HUB { HUB_ADDRESS } else { &registry };
    let path = docker_config().context("find where the login is kept\nhint: set DOCKER_CONFIG or HOME")?;
    let was_there = forget_login(&path, &registry).with_context(|| format!("forget the login at `{told}`"))?;
    match was_there {
        true => writeln!(io::stdout(), "Removing login credentials for {told}")?,
        false => writeln!(io::stdout(), "Not logged in to {told}")?,
    }
    Ok(0)
}

/// A registry's host, from a host or an address.
fn registry(typed: Option<&str>) -> String {
    let typed = typed.unwrap_or(HUB).trim();
    let host = typed.strip_prefix("https://").or_else(|| typed.strip_prefix("http://")).unwrap_or(typed);
    match host.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" | "docker.io" => HUB.to_owned(),
        host => host.to_owned(),
    }
}

/// The login from flags, standard input, what is kept already, or the caller.
fn asked(args: &LoginArgs, registry: &str) -> anyhow::Result<Login> {
    if args.password_stdin && args.password.is_some() {
        bail!("--password and --password-stdin are mutually exclusive");
    }
    if args.password_stdin {
        let Some(username) = args.username.clone().filter(|name| !name.is_empty()) else {
            bail!("Must provide --username with --password-stdin");
        };
        let mut password = String::new();
        io::stdin().lock().take(LONGEST).read_to_string(&mut password).context("read the password")?;
        return whole(username, password.trim_end_matches(['\r', '\n']).to_owned());
    }
    if args.password.is_some() {
        writeln!(io::stderr(), "WARNING! Using --password via the CLI is insecure. Use --password-stdin.")?;
    }
    if args.username.is_none() && args.password.is_none() {
        let kept = Credentials::from_docker_config().context("read Docker's credentials")?.find(registry)?;
        if let Some(kept) = kept {
            writeln!(io::stdout(), "Authenticating with existing credentials... [Username: {}]", kept.username)?;
            return Ok(kept);
        }
    }
    if (args.username.is_none() || args.password.is_none()) && !terminal::is_input() {
        bail!("Cannot perform an interactive login from a non TTY device\nhint: use -u NAME --password-stdin");
    }
    let username = match args.username.clone().filter(|name| !name.is_empty()) {
        Some(username) => username,
        None => prompt("Username: ")?,
    };
    let password = match &args.password {
        Some(password) => password.clone(),
        None => {
            let _silent = terminal::Silent::enter().context("keep the password from the screen")?;
            prompt("Password: ")?
        }
    };
    whole(username, password)
}

fn whole(username: String, password: String) -> anyhow::Result<Login> {
    if username.is_empty() {
        bail!("username is required");
    }
    if password.is_empty() {
        bail!("password is required");
    }
    Ok(Login { username, password, identity_token: None })
}

fn prompt(text: &str) -> anyhow::Result<String> {
    write!(io::stderr(), "{text}")?;
    let mut typed = String::new();
    io::stdin().lock().take(LONGEST).read_line(&mut typed).context("read what is typed")?;
    Ok(typed.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_registry_is_named_by_its_host() {
        for (typed, expected) in [
            (None, "docker.io"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
            (Some("127.0.0.1:5000"), "127.0.0.1:5000"),
            (Some("https://reg.example/v2/"), "reg.example"),
        ] {
            assert_eq!(super::registry(typed), expected);
        }
    }
}
