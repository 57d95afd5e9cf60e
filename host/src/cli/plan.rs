//! `plan`: how an image would be run, a step or grant a line; runs nothing.

use std::io::Write;

use super::client::{self, Client, Error, json};
use super::door::Door;
use super::progress::Show;
use super::query::Query;
use super::run::args::{ContainerArgs, Pull};
use super::run::request::Request;

pub(crate) fn run(args: ContainerArgs, door: &Door) -> anyhow::Result<u8> {
    let mut request = Request::new(args, true)?;
    let mut client = Client::connect(door)?;
    request.body.config.image = Some(request.image.settle(&mut client)?);
    let text = match ask(&mut client, &request) {
        Err(Error::Refused { status: 404, message })
            if request.pull != Pull::Never && message.contains("No such image") =>
        {
            super::pull::pull(&mut client, request.body.image(), request.platform.as_deref(), Show::Stderr)?;
            ask(&mut client, &request)?
        }
        other => other?,
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        writeln!(out)?;
    }
    Ok(0)
}

fn ask(client: &mut Client, request: &Request) -> client::Result<String> {
    let path = Query::new("/proa/plan").maybe("platform", request.platform.as_deref()).into_path();
    client.send("POST", &path, &[], json(&path, &request.body)?)?.text()
}
