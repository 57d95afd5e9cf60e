//! `list`: every container below the root directory.

use anyhow::Result;
use proa_linux::cgroup::Layout;
use serde_json::Value;

use super::arguments::Global;
use super::container::Container;

pub(super) fn list(global: &Global, format: &str, quiet: bool) -> Result<()> {
    let layout = Layout::here();
    let states: Vec<Value> = Container::all(global)?.iter().map(|one| one.state(one.status(&layout).name())).collect();
    if quiet {
        states.iter().for_each(|state| println!("{}", word(&state["id"])));
    } else if format == "json" {
        println!("{}", Value::from(states));
    } else {
        print_table(&states);
    }
    Ok(())
}

const COLUMNS: [(&str, &str); 6] = [
    ("ID", "id"),
    ("PID", "pid"),
    ("STATUS", "status"),
    ("BUNDLE", "bundle"),
    ("CREATED", "created"),
    ("OWNER", "owner"),
];

fn print_table(states: &[Value]) {
    let mut rows = vec![COLUMNS.map(|(title, _)| title.to_owned())];
    rows.extend(states.iter().map(|state| COLUMNS.map(|(_, key)| word(&state[key]))));
    let widths: Vec<usize> =
        (0..COLUMNS.len()).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("   ").trim_end());
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
