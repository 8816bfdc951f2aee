//! Checks the kernel from inside, one line each: `check <name>: pass`, or `fail` and what was seen instead.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use capnp::Error;
use testing::checks::{self, Bench, Verdict};

rt::program!(run);

/// Runs checks of one file and says how each ended.
macro_rules! run {
    ($bench:expr, $module:ident: $($check:ident),+ $(,)?) => {
        $(report(stringify!($check), checks::$module::$check($bench).await);)+
    };
}

async fn run(environment: rt::Environment) -> Result<(), Error> {
    let bench = &Bench::new(environment).await?;
    run!(bench, messages: wild_handle, closed_handle, wrong_kind_of_handle, wrong_interface, unknown_method,
        unknown_system_call, missing_capability, wild_capability, too_many_words, too_many_capabilities,
        pointer_out_of_message, empty_message, endpoint_cannot_be_sent);
    run!(bench, servers: wrong_interface_of_server, unknown_method_of_server, malformed_message_to_server,
        capability_index_to_server, errors_keep_kind_and_reason, capabilities_both_ways, largest_message,
        objects_are_released, cancelled_calls, revoked_facet, released_facet, closed_endpoint, server_death);
    run!(bench, memory: map_outside_user_half, map_unaligned, map_twice, map_outside_object,
        execute_unsealed, write_sealed, seal_while_writable, write_read_only_view, memory_is_zeroed,
        quota_is_given_back);
    run!(bench, machine: ports_outside_range, no_console_cursor, log_is_followed, inventories_end, registers_survive_preemption, control_words_survive_calls,
        sleep_is_long_enough, past_deadline, doorbell_waits_its_turn, signal_and_wait, process_limits, start_outside_user_half);
    run!(bench, outside: running_thread_is_paused, sleeping_thread_is_paused, paused_server_answers_later, paused_process_is_killed,
        sleeping_process_is_killed_at_its_deadline, copies_into_another, copies_keep_to_the_mappings, mappings_are_listed);
    run!(bench, evidence: fault_leaves_registers_and_stack, kill_leaves_registers, exit_leaves_what_it_means,
        holdings_are_kept, own_call_is_kept, last_made_call_is_kept, received_calls_are_kept);
    log::info!("checks: done");
    Ok(())
}

fn report(name: &str, verdict: Verdict) {
    match verdict {
        Ok(()) => log::info!("check {name}: pass"),
        Err(seen) => log::error!("check {name}: fail {seen}"),
    }
}
