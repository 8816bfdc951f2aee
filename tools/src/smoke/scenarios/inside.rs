//! Checks that a process makes from inside the system: each must say that it passed.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    qemu::Machine,
    smoke::{Context, Scenario},
};

/// Every check of `tests/programs/src/checks`. A line that is missing fails.
const CHECKS: [&str; 63] = [
    "wild_handle",
    "closed_handle",
    "wrong_kind_of_handle",
    "wrong_interface",
    "unknown_method",
    "unknown_system_call",
    "missing_capability",
    "wild_capability",
    "too_many_words",
    "too_many_capabilities",
    "pointer_out_of_message",
    "empty_message",
    "endpoint_cannot_be_sent",
    "wrong_interface_of_server",
    "unknown_method_of_server",
    "malformed_message_to_server",
    "capability_index_to_server",
    "errors_keep_kind_and_reason",
    "capabilities_both_ways",
    "largest_message",
    "objects_are_released",
    "cancelled_calls",
    "revoked_facet",
    "released_facet",
    "closed_endpoint",
    "server_death",
    "map_outside_user_half",
    "map_unaligned",
    "map_twice",
    "map_outside_object",
    "execute_unsealed",
    "write_sealed",
    "seal_while_writable",
    "write_read_only_view",
    "memory_is_zeroed",
    "quota_is_given_back",
    "ports_outside_range",
    "no_console_cursor",
    "log_is_followed",
    "inventories_end",
    "registers_survive_preemption",
    "control_words_survive_calls",
    "sleep_is_long_enough",
    "past_deadline",
    "doorbell_waits_its_turn",
    "signal_and_wait",
    "process_limits",
    "start_outside_user_half",
    "running_thread_is_paused",
    "sleeping_thread_is_paused",
    "paused_server_answers_later",
    "paused_process_is_killed",
    "sleeping_process_is_killed_at_its_deadline",
    "copies_into_another",
    "copies_keep_to_the_mappings",
    "mappings_are_listed",
    "fault_leaves_registers_and_stack",
    "kill_leaves_registers",
    "exit_leaves_what_it_means",
    "holdings_are_kept",
    "own_call_is_kept",
    "last_made_call_is_kept",
    "received_calls_are_kept",
];

/// One scenario for each number of processors.
pub fn scenarios() -> Vec<Scenario> {
    [1, 2, 4]
        .into_iter()
        .map(|processors| {
            let name = format!("inside-{processors}");
            Scenario::new(name, "a process checks the kernel from inside", 90, move |context| {
                let mut machine = Machine::new(context.direct("manifests/tests/kernel-checks.capnp")?);
                machine.processors = processors;
                checks(context, machine)
            })
        })
        .collect()
}

fn checks(context: &Context, machine: Machine) -> Result<()> {
    let mut guest = context.start(machine, &[])?;
    guest.wait_for("checks: done")?;
    let lines = guest.lines();
    let mut passed = BTreeSet::new();
    let mut failed = Vec::new();
    for line in &lines {
        let Some((_, verdict)) = line.split_once("check ") else { continue };
        let (name, verdict) = verdict.split_once(": ").with_context(|| line.clone())?;
        if verdict == "pass" {
            ensure!(passed.insert(name), "{name} was checked twice");
        } else {
            failed.push(format!("{name}: {verdict}"));
        }
    }
    for name in CHECKS {
        if !passed.remove(name) && !failed.iter().any(|failure| failure.starts_with(name)) {
            failed.push(format!("{name}: nothing was said"));
        }
    }
    failed.extend(passed.into_iter().map(|name| format!("{name}: not in the list of this scenario")));
    if !failed.is_empty() {
        bail!("{} checks failed\n  {}", failed.len(), failed.join("\n  "));
    }
    Ok(())
}
