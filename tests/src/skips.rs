//! The reviewed list: what may stay unrun although `PROA_TEST_REQUIRE=all` is set, each with its reason. Everything
//! else that cannot run is a failure there.

use crate::need::Need;

/// A case (`*` for every case), what it lacks, and why that is accepted.
const REVIEWED: &[(&str, &str, &str)] =
    &[("*", "an ordinary user", "CI runs the suites a second time as an ordinary user, where those cases run")];

/// Whether `name` may be skipped for want of `need`.
pub fn is_reviewed(name: &str, need: &Need) -> bool {
    let need = need.to_string();
    REVIEWED.iter().any(|(case, lacks, _)| (*case == "*" || *case == name) && *lacks == need)
}
