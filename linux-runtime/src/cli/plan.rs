//! `plan`: the steps of a bundle, as text.

use std::path::Path;

use anyhow::Result;
use proa_linux::Facts;

use super::bundle::{self, Bundle, Manner};
use super::group::Group;

pub(super) fn plan(bundle: &Path) -> Result<()> {
    let bundle = Bundle::load(bundle)?;
    let group = Group::planned(&bundle.spec, "plan")?;
    let manner = Manner { group: &group, detached: true, preserve: 0, keyring: Some("_ses.plan"), no_pivot: false };
    print!("{}", bundle::lower(&bundle.spec, &bundle.root()?, manner, &Facts::assumed())?);
    Ok(())
}
