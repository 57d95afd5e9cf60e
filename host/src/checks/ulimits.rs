//! `--ulimit` and `--oom-score-adj`: what only CAP_SYS_RESOURCE may give, told before anything is made.

use bollard_stubs::models::HostConfig;
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use crate::error::{Error, Result};

/// By Docker's names.
const LIMITS: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

pub(super) fn check(host: &mut HostConfig, warnings: &mut Vec<String>) -> Result<()> {
    let may_raise = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE));
    for limit in host.ulimits.iter().flatten() {
        let name = limit.name.as_deref().unwrap_or_default();
        let known = LIMITS.iter().find(|(known, _)| *known == name);
        let (_, resource) = known.ok_or_else(|| Error::Invalid(format!("invalid ulimit type: {name}")))?;
        let hard = limit.hard.unwrap_or(0).cast_unsigned();
        let most = getrlimit(*resource).maximum.unwrap_or(u64::MAX);
        if hard > most && !may_raise {
            let asked = if hard == u64::MAX { "unlimited".to_owned() } else { hard.to_string() };
            return Err(Error::Invalid(format!(
                "ulimit {name}: a hard limit of {asked} is above this host's own, {most}, and raising it needs CAP_SYS_RESOURCE"
            )));
        }
    }
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse::<i64>().ok());
    if let (Some(score), Some(own)) = (host.oom_score_adj, own)
        && score < own
        && score >= -1000
        && score != 0
        && !may_raise
    {
        warnings.push(format!(
            "an OOM score adjustment below this host's own, {own}, needs CAP_SYS_RESOURCE, which it lacks. OomScoreAdj discarded."
        ));
        host.oom_score_adj = None;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bollard_stubs::models::ResourcesUlimits;

    use super::*;

    #[test]
    fn a_limit_above_the_host_s_own_is_refused_with_both_numbers() {
        let Some(most) = getrlimit(Resource::Nofile).maximum else { return };
        let may_raise = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE));
        let check = |name: &str, hard: i64| {
            let limit = ResourcesUlimits { name: Some(name.to_owned()), soft: Some(1), hard: Some(hard) };
            let mut host = HostConfig { ulimits: Some(vec![limit]), ..Default::default() };
            super::check(&mut host, &mut Vec::new()).map_err(|error| error.sentence())
        };
        let above = i64::try_from(most).unwrap() + 1;
        assert!(check("nofile", 1).is_ok());
        assert!(check("nosuch", 1).is_err());
        if may_raise {
            assert!(check("nofile", above).is_ok());
        } else {
            let sentence = check("nofile", above).unwrap_err();
            assert!(sentence.contains(&most.to_string()) && sentence.contains(&above.to_string()), "{sentence}");
            assert!(check("nofile", -1).unwrap_err().contains("unlimited"));
        }
    }
}
