//! The command line: what it owes its readers (quiet modes, JSON, no colours in a pipe, signals passed on), that docker's
//! words mean the same here, and the verbs that are about the node and its images rather than about one guest.
#![forbid(unsafe_code)]

mod files;
mod images;
mod node;
mod old;
mod recorder;
mod requests;
mod settings;
mod shells;
mod streams;
mod tables;
mod terminal;

use std::process::ExitCode;

use proa_tests::{Isolation, Need, cases, harness};

use crate::files::*;
use crate::images::*;
use crate::node::*;
use crate::old::*;
use crate::requests::*;
use crate::settings::*;
use crate::shells::*;
use crate::streams::*;
use crate::tables::*;

const WASM: &[Isolation] = &[Isolation::Wasm, Isolation::WasmProcess];
const NATIVE: &[Isolation] = &[Isolation::Linux, Isolation::LinuxUserns];

fn main() -> ExitCode {
    harness::main(env!("CARGO_BIN_EXE_proa"), |suite| {
        suite.under_all(&[], cases![plan_prints_and_runs_nothing, the_same_workload_has_the_same_plan]);
        suite.under(WASM, &[], cases![a_signal_to_run_reaches_a_wasm_guest, each_http_request_has_its_own_instance]);
        suite.under(
            NATIVE,
            &[Need::Peer("busybox")],
            cases![
                a_signal_to_run_reaches_a_native_guest,
                the_keys_leave_a_terminal_and_not_its_container,
                the_keys_of_docker_s_settings_leave_an_exec,
                only_the_streams_that_were_named_are_shown,
                cp_follows_docker_s_rules_both_ways,
                cp_writes_through_no_link_of_the_guest_s,
            ],
        );
        suite.add(
            &[],
            cases![
                images_are_listed_tagged_and_removed,
                an_image_in_use_is_not_removed,
                pull_is_plain_in_a_pipe_and_quiet_when_asked,
                a_tar_of_files_becomes_an_image,
                info_and_version_speak_json,
                package_gives_the_same_bytes_for_the_same_input,
                package_refuses_what_is_no_program,
                policy_bounds_what_may_be_chosen,
                a_policy_with_unknown_keys_is_refused,
                a_container_s_id_is_written_to_a_file_that_was_not_there,
                a_closed_pipe_ends_quietly,
                completions_are_scripts_their_shells_take,
                every_command_has_a_manual_page,
            ],
        );
        suite.add(
            &[Need::Isolation(Isolation::Linux)],
            cases![the_reference_of_an_index_runs_under_either_model, saved_images_come_back_by_load_and_by_reference,],
        );
        suite.add(
            &[Need::Peer("docker"), Need::Isolation(Isolation::Linux), Need::Peer("busybox")],
            cases![tables_templates_and_codes_are_docker_s],
        );
        suite.add(
            &[Need::Peer("docker")],
            cases![
                an_old_client_is_understood,
                every_flag_of_create_is_sent_as_docker_sends_it,
                verbs_ask_what_docker_asks,
                wrong_lines_end_with_docker_s_codes_and_one_sentence,
            ],
        );
        suite.add(&[Need::Peer("bash")], cases![bash_completes_names]);
        suite.add(
            &[Need::Peer("docker-registry")],
            cases![logins_come_from_docker_s_settings, login_and_logout_keep_docker_s_file],
        );
    })
}
