//! Sequences of events, and what init does about each.

use super::*;
use manifest::{Export, Fate, Grant, Presence, Quotas, RestartKind, RestartPolicy, Source};

const DRIVER: Unit = 0;
const STACK: Unit = 1;
const PAGE: Unit = 2;

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn entry(name: &str, needs: Option<(&str, &str)>, exports: &[&str], kind: RestartKind) -> Entry {
    let grant = |(process, export): (&str, &str)| Grant {
        name: export.into(),
        source: Source::Export(Export {
            process: process.into(),
            name: export.into(),
            presence: Presence::Required,
            fate: Fate::LivesOn,
        }),
    };
    Entry {
        name: name.into(),
        binary: name.into(),
        arguments: Vec::new(),
        priority: 10,
        quotas: Quotas { frames: 512, handles: 64, threads: 1, dma_pages: 0 },
        grants: needs.into_iter().map(grant).collect(),
        exports: exports.iter().map(|&name| name.into()).collect(),
        restart: RestartPolicy { kind, maximum: 3, window_seconds: 60, back_off_milliseconds: 10 },
        heartbeat_milliseconds: 0,
    }
}

/// A driver, a stack on it and a page on that, written the other way round on purpose where it matters.
fn system(kind: RestartKind) -> Supervision {
    Supervision::new(&Manifest {
        name: "test".into(),
        entries: vec![
            entry("driver", None, &["nic"], kind),
            entry("stack", Some(("driver", "nic")), &["network"], kind),
            entry("page", Some(("stack", "network")), &[], kind),
        ],
    })
}

/// A system in which everything runs, at time 0; ids are 5, 6 and 7.
fn running(kind: RestartKind) -> Supervision {
    let mut system = system(kind);
    system.begin();
    for (unit, id) in [(DRIVER, 5), (STACK, 6), (PAGE, 7)] {
        system.started(unit, id, at(0));
        system.exported(unit, 0);
    }
    system
}

fn starts(actions: &[Action]) -> Vec<Unit> {
    actions
        .iter()
        .filter_map(|action| if let Action::Start(unit) = action { Some(*unit) } else { None })
        .collect()
}

fn lines(actions: &[Action]) -> Vec<&str> {
    let lines = actions.iter().filter_map(|action| match action {
        Action::Log(_, line) => Some(line.as_str()),
        _ => None,
    });
    lines.collect()
}

fn fault(id: u32) -> Ending {
    let cause = Cause::Fault { vector: 14, error_code: 4, thread: 1, instruction: 0x20_1000, address: 0x10 };
    Ending { id, cause }
}

fn exit(id: u32, code: i64) -> Ending {
    Ending { id, cause: Cause::Exited(code) }
}

#[test]
fn processes_start_when_what_they_need_is_exported() {
    let mut system = system(RestartKind::Always);
    assert_eq!(system.begin(), [Action::Start(DRIVER)]);
    assert_eq!(system.started(DRIVER, 5, at(0)), []);
    assert_eq!(system.exported(DRIVER, 0), [Action::Start(STACK)]);
    assert_eq!(system.exported(STACK, 0), [Action::Start(PAGE)]);
    assert_eq!(system.started(STACK, 6, at(1)), []);
    let ready = Action::Log(Level::Info, "running: driver, stack, page".into());
    assert_eq!(system.started(PAGE, 7, at(2)), [ready]);
}

#[test]
fn what_needs_nothing_starts_together() {
    let mut system = Supervision::new(&Manifest {
        name: "test".into(),
        entries: vec![entry("a", None, &[], RestartKind::Always), entry("b", None, &[], RestartKind::Always)],
    });
    assert_eq!(system.begin(), [Action::Start(0), Action::Start(1)]);
}

#[test]
fn a_process_that_ends_is_started_again_after_its_back_off() {
    let mut system = running(RestartKind::Always);
    let actions = system.ended(DRIVER, fault(5), at(5000));
    let line = "process driver (5): page fault reading 0x10 at 0x201000, restarting (1st time)";
    assert_eq!(actions, [Action::Log(Level::Error, line.into()), Action::WakeAt(at(5010))]);
    assert_eq!(system.tick(at(5009)), []);
    assert_eq!(system.tick(at(5010)), [Action::Start(DRIVER)]);
    assert_eq!(system.started(DRIVER, 8, at(5011)), []);
    assert_eq!((system.state(DRIVER), system.restarts(DRIVER)), (Some(State::Running(8)), 1));
    let again = system.ended(DRIVER, fault(8), at(9000));
    assert!(lines(&again)[0].ends_with("restarting (2nd time)"));
}

#[test]
fn an_export_is_waited_for_while_its_process_is_away() {
    let mut system = running(RestartKind::Always);
    assert_eq!(system.availability(DRIVER, 0), Availability::Ready);
    system.ended(DRIVER, fault(5), at(1));
    assert_eq!(system.availability(DRIVER, 0), Availability::Wait);
    // The stack ends meanwhile, and waits for the driver although its back-off is over.
    system.ended(STACK, exit(6, 1), at(2));
    assert_eq!(starts(&system.tick(at(50))), [DRIVER]);
    system.started(DRIVER, 8, at(51));
    assert_eq!(system.availability(DRIVER, 0), Availability::Wait);
    assert_eq!(system.exported(DRIVER, 0), [Action::Start(STACK)]);
    assert_eq!(system.availability(DRIVER, 0), Availability::Ready);
    assert_eq!(system.availability(DRIVER, 1), Availability::Gone);
}

#[test]
fn a_process_that_keeps_failing_is_given_up_and_its_dependants_are_told() {
    let mut system = running(RestartKind::Always);
    for (index, id) in (10..13).enumerate() {
        let now = at(5000 * (index as u64 + 1));
        let before = if index == 0 { 5 } else { id - 1 };
        assert!(matches!(system.ended(DRIVER, fault(before), now)[1], Action::WakeAt(_)));
        system.tick(now + at(10));
        system.started(DRIVER, id, now + at(11));
    }
    system.ended(STACK, exit(6, 1), at(15_500));
    let actions = system.ended(DRIVER, fault(12), at(15_600));
    assert_eq!(
        lines(&actions),
        [
            "process driver (12): page fault reading 0x10 at 0x201000, gave up after 3 restarts in 60 s",
            "process stack: needs nic of driver, which failed, failed",
        ]
    );
    assert_eq!(system.state(STACK), Some(State::Failed));
    // The page runs on; when it ends it cannot come back either.
    assert_eq!(system.state(PAGE), Some(State::Running(7)));
    assert_eq!(system.availability(STACK, 0), Availability::Gone);
    system.ended(PAGE, exit(7, 0), at(15_700));
    assert_eq!(system.state(PAGE), Some(State::Failed));
    assert_eq!(system.problem(PAGE), "needs network of stack, which failed");
}

#[test]
fn a_failure_that_lasts_fails_its_dependants_at_once() {
    let mut system = system(RestartKind::Always);
    system.begin();
    let missing = StartFailure::Permanent("binary \"driver\" is not in the boot package".into());
    assert_eq!(
        lines(&system.start_failed(DRIVER, missing, at(0))),
        [
            "process driver: binary \"driver\" is not in the boot package, failed",
            "process stack: needs nic of driver, which failed, failed",
            "process page: needs network of stack, which failed, failed",
            "capos: incomplete; failed: driver, stack, page",
        ]
    );
}

#[test]
fn a_failure_that_may_pass_is_tried_again_a_few_times() {
    let mut system = system(RestartKind::Always);
    system.begin();
    let mut now = at(0);
    for _ in 0..FAILED_STARTS {
        let actions = system.start_failed(DRIVER, StartFailure::Temporary("busy".into()), now);
        let Action::WakeAt(wake) = actions[1] else { panic!("{actions:?}") };
        assert!(wake > now);
        now = wake;
        assert_eq!(system.tick(now), [Action::Start(DRIVER)]);
    }
    let actions = system.start_failed(DRIVER, StartFailure::Temporary("busy".into()), now);
    assert_eq!(lines(&actions)[0], "process driver: busy, failed");
}

#[test]
fn a_process_that_may_stop_is_left_alone() {
    let mut system = running(RestartKind::OnFailure);
    let actions = system.ended(PAGE, exit(7, 0), at(1));
    let line = "process page (7): exited with code 0, not restarted";
    assert_eq!(actions, [Action::Log(Level::Info, line.into())]);
    assert_eq!(system.state(PAGE), Some(State::Stopped));
    assert_eq!(system.problem(PAGE), "");
    assert!(matches!(system.ended(STACK, exit(6, 3), at(2))[1], Action::WakeAt(_)));
}

#[test]
fn an_optional_export_is_not_waited_for() {
    let mut page = entry("page", Some(("stack", "network")), &[], RestartKind::Always);
    for grant in &mut page.grants {
        if let Source::Export(export) = &mut grant.source {
            export.presence = Presence::Optional;
        }
    }
    let stack = entry("stack", None, &["network"], RestartKind::Never);
    let mut system = Supervision::new(&Manifest { name: "test".into(), entries: vec![stack, page] });
    assert_eq!(starts(&system.begin()), [0, 1]);
    system.start_failed(0, StartFailure::Permanent("no binary".into()), at(0));
    assert_eq!(system.state(1), Some(State::Starting));
    assert!(!system.is_settled());
    system.started(1, 7, at(1));
    assert!(system.is_settled());
}

#[test]
fn a_boot_in_which_a_process_ends_is_still_settled() {
    let mut system = running(RestartKind::Never);
    system.announced = false;
    let actions = system.ended(PAGE, exit(7, 0), at(1));
    assert_eq!(lines(&actions)[1], "running: driver, stack; ended: page");
}

#[test]
fn a_kill_reaches_a_process_that_is_being_started() {
    let mut system = system(RestartKind::Always);
    system.begin();
    assert_eq!(system.kill(DRIVER), []);
    assert_eq!(system.started(DRIVER, 5, at(0)), [Action::Kill(DRIVER)]);
    assert_eq!(system.kill(DRIVER), [Action::Kill(DRIVER)]);
    system.ended(DRIVER, Ending { id: 5, cause: Cause::Killed }, at(1));
    assert_eq!(system.kill(DRIVER), []);
    assert_eq!(system.kill(99), []);
}

#[test]
fn news_of_an_earlier_life_are_ignored() {
    let mut system = running(RestartKind::Always);
    system.ended(DRIVER, fault(5), at(1));
    assert_eq!(system.ended(DRIVER, fault(5), at(2)), []);
    assert_eq!(system.restarts(DRIVER), 1);
    assert_eq!(system.exported(DRIVER, 0), []);
    assert_eq!(system.availability(DRIVER, 0), Availability::Wait);
    assert_eq!(system.started(DRIVER, 9, at(3)), []);
    assert_eq!(system.start_failed(DRIVER, StartFailure::Permanent("late".into()), at(3)), []);
    assert_eq!(system.exported(99, 0), []);
}

#[test]
fn ordinals_are_english() {
    let words: Vec<String> =
        [1, 2, 3, 4, 11, 12, 13, 21, 112].iter().map(|&n| Ordinal(n).to_string()).collect();
    assert_eq!(words, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"]);
}

#[test]
fn a_process_that_hangs_is_killed_once_and_the_reason_is_told() {
    let mut system = running(RestartKind::Always);
    assert_eq!(system.hangs(STACK, "it waits".into()), [Action::Kill(STACK)]);
    assert_eq!(system.hangs(STACK, "it still waits".into()), []);
    assert_eq!(system.reason(STACK), Some("it waits"));
    let actions = system.ended(STACK, Ending { id: 6, cause: Cause::Killed }, at(5000));
    let told = |action: &Action| matches!(action, Action::Log(_, line) if line.contains("killed: it waits, restarting"));
    assert!(actions.iter().any(told), "{actions:?}");
    assert_eq!((system.problem(STACK), system.reason(STACK)), ("killed: it waits", None));
    assert_eq!(system.hangs(STACK, "it is not there".into()), []);
}

/// As [`running`], and the stack is restarted with the driver, the page with the stack.
fn chained() -> Supervision {
    let mut entries = vec![
        entry("driver", None, &["nic"], RestartKind::Always),
        entry("stack", Some(("driver", "nic")), &["network"], RestartKind::Always),
        entry("page", Some(("stack", "network")), &[], RestartKind::Always),
    ];
    for grant in entries.iter_mut().flat_map(|entry| &mut entry.grants) {
        if let Source::Export(export) = &mut grant.source {
            export.fate = Fate::WithProvider;
        }
    }
    let mut system = Supervision::new(&Manifest { name: "test".into(), entries });
    system.begin();
    for (unit, id) in [(DRIVER, 5), (STACK, 6), (PAGE, 7)] {
        system.started(unit, id, at(0));
        system.exported(unit, 0);
    }
    system
}

fn killed(id: u32) -> Ending {
    Ending { id, cause: Cause::Killed }
}

#[test]
fn followers_end_with_their_provider_and_start_after_it() {
    let mut system = chained();
    let fault = Ending { id: 5, cause: Cause::Exited(1) };
    let actions = system.ended(DRIVER, fault, at(100));
    assert!(actions.contains(&Action::Kill(STACK)) && !actions.contains(&Action::Kill(PAGE)), "{actions:?}");
    assert!(!system.is_crash(STACK, &killed(6)) && system.is_crash(PAGE, &killed(7)));
    assert!(system.ended(STACK, killed(6), at(101)).contains(&Action::Kill(PAGE)));
    system.ended(PAGE, killed(7), at(102));
    assert_eq!([STACK, PAGE].map(|unit| system.state(unit)), [Some(State::Waiting); 2]);
    // In the order of what they need, each when that is offered again.
    assert_eq!(starts(&system.tick(at(200))), [DRIVER]);
    assert_eq!(starts(&system.started(DRIVER, 8, at(201))), []);
    assert_eq!(starts(&system.exported(DRIVER, 0)), [STACK]);
    system.started(STACK, 9, at(202));
    assert_eq!(starts(&system.exported(STACK, 0)), [PAGE]);
    assert_eq!((system.restarts(STACK), system.problem(STACK)), (1, ""));
}

#[test]
fn following_does_not_use_up_the_restart_policy() {
    let mut system = chained();
    for round in 0..10 {
        let time = at(round * 100_000);
        let id = |unit: Unit| 5 + unit as u32 + 10 * round as u32;
        system.ended(DRIVER, Ending { id: id(DRIVER), cause: Cause::Exited(1) }, time);
        system.ended(STACK, killed(id(STACK)), time);
        system.ended(PAGE, killed(id(PAGE)), time);
        system.tick(time + at(50_000));
        for unit in [DRIVER, STACK, PAGE] {
            system.started(unit, id(unit) + 10, time + at(50_000));
            system.exported(unit, 0);
        }
        assert_eq!(system.state(PAGE), Some(State::Running(id(PAGE) + 10)));
    }
}

#[test]
fn a_follower_that_is_being_started_is_ended_too() {
    let mut system = chained();
    system.ended(STACK, Ending { id: 6, cause: Cause::Exited(1) }, at(0));
    system.ended(PAGE, killed(7), at(0));
    assert_eq!(starts(&system.tick(at(50))), [STACK]);
    system.ended(DRIVER, Ending { id: 5, cause: Cause::Exited(1) }, at(51));
    assert_eq!(system.started(STACK, 9, at(52)), [Action::Kill(STACK)]);
    system.ended(STACK, killed(9), at(53));
    assert_eq!(system.state(STACK), Some(State::Waiting));
}

#[test]
fn followers_of_a_process_that_is_given_up_fail_with_the_reason() {
    let mut system = chained();
    for (id, time) in [(5, 0), (8, 2000), (9, 4000), (10, 6000)] {
        system.ended(DRIVER, Ending { id, cause: Cause::Exited(1) }, at(time));
        system.ended(STACK, killed(6), at(time));
        system.tick(at(time + 1500));
        system.started(DRIVER, id.max(7) + 1, at(time + 1500));
    }
    assert_eq!(system.state(DRIVER), Some(State::Failed));
    assert_eq!(system.state(STACK), Some(State::Failed));
    assert_eq!(system.problem(STACK), "needs nic of driver, which failed");
}

#[test]
fn the_system_ends_from_its_users_on() {
    let mut system = running(RestartKind::Always);
    let asked = |actions: &[Action]| {
        let of = |action: &Action| match action {
            Action::Stop(unit) => Some(*unit),
            _ => None,
        };
        actions.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(asked(&system.stop(Goal::Halt, at(0))), [PAGE]);
    assert_eq!(system.stop(Goal::Reboot, at(1)), []);
    let done = |id| Ending { id, cause: Cause::Exited(0) };
    assert_eq!(asked(&system.ended(PAGE, done(7), at(2))), [STACK]);
    // One that crashes meanwhile has ended as well.
    let actions = system.ended(STACK, Ending { id: 6, cause: Cause::Exited(1) }, at(3));
    assert_eq!(asked(&actions), [DRIVER]);
    assert_eq!(system.ended(DRIVER, done(5), at(4)), [Action::Power(Goal::Halt)]);
    assert_eq!(starts(&system.tick(at(5000))), []);
}

#[test]
fn who_does_not_end_in_time_is_killed() {
    let mut system = running(RestartKind::Always);
    assert!(system.stop(Goal::Halt, at(0)).contains(&Action::WakeAt(at(3000))));
    assert_eq!(system.tick(at(2999)), []);
    assert_eq!(system.tick(at(3000)), [Action::Kill(PAGE)]);
    assert_eq!(system.tick(at(9000)), []);
    let actions = system.ended(PAGE, killed(7), at(9001));
    let told =
        |action: &Action| matches!(action, Action::Log(_, line) if line.contains("did not end within 3 s"));
    assert!(actions.iter().any(told) && actions.contains(&Action::Stop(STACK)), "{actions:?}");
}

#[test]
fn what_is_being_started_or_waits_is_not_waited_for() {
    let mut system = system(RestartKind::Always);
    system.begin();
    assert_eq!(system.stop(Goal::Reboot, at(0)), []);
    assert_eq!(system.started(DRIVER, 5, at(1)).first(), Some(&Action::Kill(DRIVER)));
    let actions = system.ended(DRIVER, killed(5), at(2));
    assert!(actions.contains(&Action::Power(Goal::Reboot)), "{actions:?}");
}

#[test]
fn refusals_of_a_device_are_the_problem_of_who_holds_it() {
    let mut system = running(RestartKind::Always);
    let address = Address { segment: 0, bus: 0, device: 3, function: 0 };
    assert_eq!(
        lines(&system.refused(5, address, 2)),
        ["process driver: its device 00:03.0 reached for what is not its own (refused: 2)"]
    );
    system.refused(5, address, 1);
    assert_eq!(system.problem(DRIVER), "its device 00:03.0 reached for what is not its own (refused: 3)");
    assert!(lines(&system.refused(0, address, 1)).concat().contains("which no process holds"));
    // The next life begins without them.
    system.ended(DRIVER, killed(5), at(1));
    system.tick(at(20));
    system.started(DRIVER, 8, at(21));
    system.refused(8, address, 1);
    assert_eq!(system.problem(DRIVER), "its device 00:03.0 reached for what is not its own (refused: 1)");
}
