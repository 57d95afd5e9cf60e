//! `completion`: what a shell needs to complete proa's commands, made of the commands' own definition; names of
//! containers, images and volumes are asked of the host while somebody types.

use std::io::Write;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::Cli;

/// `proa completion`.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    shell: Kind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Bash,
    Zsh,
    Fish,
}

/// The verbs whose words are names, and the command that lists those.
const NAMED: [(&str, &str); 3] = [
    (
        "attach commit cp diff exec export inspect kill logs pause port rename restart rm start stats stop top unpause \
         update wait",
        "proa ps -a --format '{{.Names}}' 2>/dev/null",
    ),
    ("create history plan push rmi run save tag", "proa images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null"),
    ("volume", "proa volume ls -q 2>/dev/null"),
];

pub(crate) fn run(args: CompletionArgs) -> anyhow::Result<u8> {
    let shell = match args.shell {
        Kind::Bash => Shell::Bash,
        Kind::Zsh => Shell::Zsh,
        Kind::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "proa", &mut script);
    match args.shell {
        Kind::Bash => script.extend(bash().into_bytes()),
        Kind::Fish => script.extend(fish().into_bytes()),
        // zsh's own completion of words stays with files.
        Kind::Zsh => {}
    }
    std::io::stdout().write_all(&script)?;
    Ok(0)
}

/// Around the generated function: words that are no flags may be names too.
fn bash() -> String {
    let mut cases = String::new();
    for (verbs, list) in NAMED {
        let verbs = verbs.split_whitespace().collect::<Vec<_>>().join("|");
        cases.push_str(&format!("        {verbs}) names=$({list}) ;;\n"));
    }
    format!(
        "\n_proa_named() {{\n    _proa \"$@\"\n    local cur=${{COMP_WORDS[COMP_CWORD]}} names=\n    [[ $cur == -* || \
         $COMP_CWORD -lt 2 ]] && return 0\n    case ${{COMP_WORDS[1]}} in\n{cases}    esac\n    \
         COMPREPLY+=($(compgen -W \"$names\" -- \"$cur\"))\n}}\n\
         complete -F _proa_named -o nosort -o bashdefault -o default proa\n"
    )
}

fn fish() -> String {
    let line = |(verbs, list): (&str, &str)| {
        format!("complete -c proa -n '__fish_seen_subcommand_from {verbs}' -a \"({list})\"\n")
    };
    NAMED.into_iter().map(line).collect()
}
