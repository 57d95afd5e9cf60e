//! The rules as v1 keeps them: a behaviour for every device, and a set of exceptions to it. The kernel's own list takes
//! nothing away from the middle of an exception: a rule that would need that is refused, since there it would be passed
//! over in silence.

use oci_spec::runtime::LinuxDeviceCgroup;

use super::super::setting::Setting;
use super::{ACCESSES, BLOCK, CHARACTER, Rule, rules};
use crate::error::{Error, Result};

/// What a group of v1 is told: the behaviour, then each exception.
///
/// # Errors
/// `Lacks` for a rule that is about a part of an earlier one.
pub(in super::super) fn settings(asked: Option<&Vec<LinuxDeviceCgroup>>) -> Result<Vec<Setting>> {
    let mut list = List { allows: false, exceptions: Vec::new() };
    for rule in rules(asked) {
        list.take(rule)?;
    }
    let file = |allow: bool| if allow { "devices.allow" } else { "devices.deny" };
    let mut settings = vec![Setting::new(file(list.allows), "a")];
    settings.extend(list.exceptions.iter().map(|exception| Setting::new(file(!list.allows), line(exception))));
    Ok(settings)
}

struct List {
    allows: bool,
    /// Each for one kind of device.
    exceptions: Vec<Rule>,
}

impl List {
    fn take(&mut self, rule: Rule) -> Result<()> {
        if rule.is_about_everything() {
            (self.allows, self.exceptions) = (rule.allow, Vec::new());
            return Ok(());
        }
        let kinds = if rule.kind.is_some() { vec![rule.kind] } else { vec![Some(CHARACTER), Some(BLOCK)] };
        for kind in kinds {
            let rule = Rule { kind, ..rule };
            if rule.allow == self.allows { self.remove(rule)? } else { self.add(rule) }
        }
        Ok(())
    }

    fn add(&mut self, rule: Rule) {
        match self.exceptions.iter_mut().find(|one| one.covers(&rule) && rule.covers(one)) {
            Some(same) => same.access |= rule.access,
            None => self.exceptions.push(rule),
        }
    }

    fn remove(&mut self, rule: Rule) -> Result<()> {
        for exception in &mut self.exceptions {
            if exception.access & rule.access == 0 || !exception.meets(&rule) {
                continue;
            }
            if !rule.covers(exception) {
                let (rule, exception) = (line(&rule), line(exception));
                return Err(Error::Lacks(format!(
                    "`linux.resources.devices`: cgroups v1 cannot take `{rule}` from `{exception}`"
                )));
            }
            exception.access &= !rule.access;
        }
        self.exceptions.retain(|exception| exception.access != 0);
        Ok(())
    }
}

impl Rule {
    /// Whether every device of `other` is one of its own.
    fn covers(&self, other: &Rule) -> bool {
        let covers = |own: Option<u32>, other: Option<u32>| own.is_none() || own == other;
        covers(self.kind, other.kind) && covers(self.major, other.major) && covers(self.minor, other.minor)
    }

    /// Whether there is a device of both.
    fn meets(&self, other: &Rule) -> bool {
        let meets = |own: Option<u32>, other: Option<u32>| own.is_none() || other.is_none() || own == other;
        meets(self.kind, other.kind) && meets(self.major, other.major) && meets(self.minor, other.minor)
    }
}

fn line(rule: &Rule) -> String {
    let kind = if rule.kind == Some(BLOCK) { 'b' } else { 'c' };
    let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let letters: String = ACCESSES.iter().filter(|(_, bit)| rule.access & bit != 0).map(|(letter, _)| letter).collect();
    format!("{kind} {}:{} {letters}", number(rule.major), number(rule.minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: serde_json::Value) -> Result<Vec<String>, String> {
        let settings = settings(Some(&serde_json::from_value(json).unwrap())).map_err(|error| error.to_string())?;
        Ok(settings
            .into_iter()
            .map(|one| format!("{} {}", one.file.trim_start_matches("devices."), one.value))
            .collect())
    }

    #[test]
    fn a_container_has_its_own_devices_and_may_make_others() {
        let lines = lines(serde_json::json!([])).unwrap();
        assert_eq!(lines[..4], ["deny a", "allow c *:* m", "allow b *:* m", "allow c 1:3 rwm"]);
        assert_eq!(lines.last().unwrap(), "allow c 136:* rwm");
    }

    #[test]
    fn everything_allowed_is_one_line() {
        assert_eq!(lines(serde_json::json!([{ "allow": true, "access": "rwm" }])).unwrap(), ["allow a"]);
    }

    #[test]
    fn what_a_later_rule_takes_away_is_not_allowed_first() {
        let lines = lines(serde_json::json!([
            { "allow": true, "type": "b", "major": 8, "minor": 1, "access": "rw" },
            { "allow": true, "major": 7, "access": "r" },
            { "allow": false, "type": "b", "major": 8, "access": "w" },
            { "allow": false, "type": "c", "major": 7 },
        ]));
        let own: Vec<String> = lines.unwrap().into_iter().skip(1).take(2).collect();
        assert_eq!(own, ["allow b 8:1 r", "allow b 7:* r"]);
    }

    #[test]
    fn exceptions_from_everything_are_denied() {
        let lines = lines(serde_json::json!([{ "allow": true }, { "allow": false, "type": "b", "major": 8 }]));
        // That every node may be made takes back a part of it.
        assert_eq!(lines.unwrap(), ["allow a", "deny b 8:* rw"]);
    }

    #[test]
    fn a_hole_is_refused() {
        let lines = lines(serde_json::json!([
            { "allow": true, "type": "b", "major": 8, "access": "r" },
            { "allow": false, "type": "b", "major": 8, "minor": 1, "access": "r" },
        ]));
        assert_eq!(lines.unwrap_err(), "`linux.resources.devices`: cgroups v1 cannot take `b 8:1 r` from `b 8:* r`");
    }
}
