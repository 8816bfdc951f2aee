//! The prompt on the serial port, by a person at a pseudo-terminal.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::live;
use crate::{
    guest::{Guest, MORE, PROMPT, Terminal},
    qemu::{Machine, Nic},
    smoke::{Context, Scenario},
};

const LIMIT: u64 = 60;

/// How long one try of a prompt that may not be there yet waits for its answer.
const ATTEMPT: Duration = Duration::from_millis(500);

const DEFAULT: &str = "manifests/default.capnp";

/// What `help` prints.
const HELP: [&str; 16] = [
    "status                   the system at a glance",
    "cpu                      processors: idle time and interrupts",
    "mem                      memory: free, the kernel's, each process's",
    "acpi                     firmware tables",
    "pci                      PCI functions: numbers, registers, owners",
    "irq                      interrupts: source, count, owner",
    "timers                   clocks, and deadlines of each processor",
    "devices                  devices and their drivers",
    "ps                       processes",
    "caps [process]           who holds what",
    "crashes [process]        processes that crashed; of one: what it was doing",
    "net                      the network interface",
    "logs [-n N] [process]    the newest N lines of the log (20, at most 1000)",
    "help                     this list",
    "reboot                   restarts the machine",
    "halt                     switches the machine off",
];

/// All of them.
pub fn scenarios() -> Vec<Scenario> {
    let scenario = |name, about, run: fn(&mut Context) -> Result<()>| Scenario::new(name, about, LIMIT, run);
    vec![
        scenario("diag-commands", "every command shows the system as it is", commands),
        scenario("diag-idle", "a processor that nothing wakes counts as idle", idle),
        scenario("diag-editing", "lines are edited, come back, and are paged", editing),
        Scenario::new("diag-abuse", "noise, long lines and a paste of 1 MiB do no harm", 150, abuse),
        scenario("diag-no-nic", "the prompt works without a network card", no_nic),
        scenario(
            "diag-crashed-netstack",
            "the prompt works when the network stack is gone",
            crashed_netstack,
        ),
        scenario("diag-recovery", "the prompt comes back when it died", recovery),
        scenario("diag-reboot", "the machine restarts when that is asked for", |context| {
            ends(context, "reboot", "guest-reset")
        }),
        scenario("diag-halt", "the machine switches off when that is asked for", |context| {
            ends(context, "halt", "guest-shutdown")
        }),
        scenario("diag-no-power", "commands that were not granted say so", no_power),
    ]
}

fn start(context: &mut Context, manifest: &str, nic: Option<Nic>) -> Result<(Guest, Terminal)> {
    let mut machine = Machine::new(context.direct(manifest)?);
    machine.nic = nic;
    machine.processors = 2;
    let ports: &[u16] = if nic.is_some() { &[live::PORT] } else { &[] };
    context.start_with_terminal(machine, ports)
}

/// A system that has come up, and whose page answers.
fn ready(context: &mut Context, manifest: &str) -> Result<(Guest, Terminal)> {
    let (guest, terminal) = start(context, manifest, Some(Nic::Modern))?;
    terminal.wait_line("capos: ready")?;
    Ok((guest, terminal))
}

/// Compares the words of each line, so that widths of columns do not matter. `*` stands for any word.
fn ensure_words(command: &str, output: &[String], expected: &[&str]) -> Result<()> {
    let fits = |line: &String, expected: &str| {
        let (words, expected): (Vec<_>, Vec<_>) =
            (line.split_whitespace().collect(), expected.split_whitespace().collect());
        words.len() == expected.len()
            && words.iter().zip(expected).all(|(word, known)| known == "*" || *word == known)
    };
    let same =
        output.len() == expected.len() && output.iter().zip(expected).all(|(line, known)| fits(line, known));
    ensure!(same, "{command} prints {output:#?} and not {expected:#?}");
    Ok(())
}

fn commands(context: &mut Context) -> Result<()> {
    let (_guest, mut terminal) = ready(context, DEFAULT)?;
    let mut run = |line: &str| terminal.command(line);
    ensure!(run("help")? == HELP, "help has changed");
    ensure_words(
        "status",
        &run("status")?,
        &[
            "version capOS * *",
            "manifest default",
            "uptime * s",
            "machine 2 processors of QEMU TCG CPU version 2.5+, loaded by capos-loader",
            "memory * MiB, * MiB free",
            "time tsc (calibrated against the HPET), local APIC timer",
            "DMA direct: drivers that start DMA reach all memory",
            "processes 6 of 6 running",
            "network 10.0.2.15/24 by DHCP",
            "console 16550: * bytes received, 0 lost, 0 overruns; * sent",
        ],
    )?;
    ensure_words(
        "cpu",
        &run("cpu")?,
        &["QEMU TCG CPU version 2.5+", "cpu apic idle interrupts", "0 0 * *", "1 1 * *"],
    )?;
    let memory = run("mem")?;
    ensure!(memory.len() == 10 && memory[0].starts_with("total"), "mem prints {memory:#?}");
    let tables = run("acpi")?;
    let signatures: Vec<_> = tables.iter().filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(signatures == ["table", "FACP", "APIC", "HPET", "MCFG", "WAET"], "acpi prints {tables:#?}");
    let functions = run("pci")?;
    ensure!(
        functions.iter().any(|line| line
            == "00:01.0 1af4:1041 rev 01 sub 1af4:1100 020000 Ethernet, MSI-X x4, owner virtio-net"),
        "pci prints {functions:#?}"
    );
    ensure!(functions.iter().any(|line| line.starts_with("    BAR4 mem64 0x")), "pci prints {functions:#?}");
    let mut interrupts = run("irq")?;
    if let Some(rows) = interrupts.get_mut(1..4) {
        // The drivers start at the same time: either may come to the first vector.
        rows.sort_by_key(|row| !row.ends_with("uart"));
    }
    ensure_words(
        "irq",
        &interrupts,
        &[
            "vector kind source cpu count dropped owner",
            "* line line 4 * * 0 uart",
            "* MSI-X 00:01.0 #0 * * 0 virtio-net",
            "* MSI-X 00:01.0 #1 * * 0 virtio-net",
            "0 of vectors that belong to nobody",
        ],
    )?;
    let timers = run("timers")?;
    ensure!(
        timers.len() == 7 && timers[0] == "clock   tsc (calibrated against the HPET)",
        "timers prints {timers:#?}"
    );
    ensure_words(
        "devices",
        &run("devices")?,
        &[
            "device what driver",
            "00:00.0 8086:29c0 host bridge -",
            "00:01.0 1af4:1041 Ethernet virtio-net",
            "00:1f.0 8086:2918 ISA bridge -",
            "00:1f.2 8086:2922 SATA -",
            "00:1f.3 8086:2930 SMBus -",
            "ports 0x3f8-0x3ff legacy uart",
            "ISA line 4 legacy uart",
        ],
    )?;
    ensure_words(
        "ps",
        &run("ps")?,
        &[
            "id process state restarts cpu ms frames handles threads",
            "1 init running 0 * * * *",
            "* uart running 0 * * * *",
            "* diag running 0 * * * *",
            "* virtio-net running 0 * * * *",
            "* netstack running 0 * * * *",
            "* remote-session-web-ui running 0 * * * *",
        ],
    )?;
    let held = run("caps uart")?;
    for line in [
        "uart (running)",
        "  granted  ports            ports 0x3f8-0x3ff from kernel",
        "  granted  interrupt        ISA line 4 from kernel",
        "  granted  kernel-log       KernelLog from kernel",
        "  offers   console",
        "  holds       1 ioPort",
    ] {
        ensure!(held.iter().any(|held| held == line), "caps uart prints {held:#?} without {line:?}");
    }
    let all = run("caps")?;
    ensure!(all.iter().filter(|line| line.ends_with(" (running)")).count() == 6, "caps prints {all:#?}");
    ensure_words(
        "net",
        &run("net")?,
        &[
            "net0 52:54:00:12:34:56, MTU 1500, link up, driver connected",
            "address 10.0.2.15/24 by DHCP, * s left",
            "route 10.0.2.0/24 on the link",
            "route 0.0.0.0/0 by 10.0.2.2",
            "DNS 10.0.2.3",
            "sockets * TCP, * UDP",
            "received * frames, * bytes, 0 errors, 0 refused by the stack",
            "sent * frames, * bytes, 0 errors; * interrupts",
        ],
    )?;
    // These are lines of the log, which `command` leaves out: they are looked for on the screen.
    terminal.send(b"logs -n 1 remote-session-web-ui\r")?;
    terminal.wait("the line twice", |lines, row| {
        let ready = lines.iter().filter(|line| line.ends_with("capos: ready, http://10.0.2.15:8080/"));
        (ready.count() == 2 && row == PROMPT).then_some(())
    })?;
    for (line, answer) in [
        ("frobnicate", "unknown command \"frobnicate\"; try help"),
        ("ps aux", "usage: ps"),
        ("logs -n many", "usage: logs [-n N] [process]"),
        ("caps nobody", "there is no process \"nobody\"; ps lists them"),
        ("logs nobody", "no lines of \"nobody\""),
    ] {
        let output = terminal.command(line)?;
        ensure!(output == [answer], "{line:?} prints {output:?}");
    }
    Ok(())
}

fn idle(context: &mut Context) -> Result<()> {
    let mut machine = Machine::new(context.direct(DEFAULT)?);
    machine.nic = Some(Nic::Modern);
    machine.processors = 8;
    let (_guest, mut terminal) = context.start_with_terminal(machine, &[])?;
    terminal.wait_line("capos: ready")?;
    let rows = terminal.command("cpu")?;
    ensure!(rows.len() == 10 && rows.iter().all(|row| !row.contains(" 0.0%")), "cpu prints {rows:#?}");
    Ok(())
}

fn editing(context: &mut Context) -> Result<()> {
    let (_guest, mut terminal) = ready(context, DEFAULT)?;
    terminal.wait_prompt()?;
    // "help" in a roundabout way: each kind of key once.
    terminal.send(b"xy\x15lp junk\x17\x7f\x01he\x05x\x1b[D\x04\x1b[H\x1b[F")?;
    terminal.wait("the edited line", |_, row| (row == format!("{PROMPT}help")).then_some(()))?;
    terminal.send(b"\r")?;
    terminal.wait_line(HELP[15])?;
    terminal.wait_prompt()?;
    terminal.send(b"status nonsense\r")?;
    terminal.wait_line("usage: status")?;
    terminal.wait_prompt()?;
    terminal.send(b"draft\x1b[A\x1b[A")?;
    terminal.wait("the line before the last", |_, row| (row == format!("{PROMPT}help")).then_some(()))?;
    terminal.send(b"\x1b[B\x1b[B")?;
    terminal.wait("the draft", |_, row| (row == format!("{PROMPT}draft")).then_some(()))?;
    terminal.send(b"\x03")?;
    terminal.wait_line("capos> draft")?;
    terminal.wait_prompt()?;
    // A line that is longer than a row is scrolled.
    terminal.send(&[b'a'; 100])?;
    terminal
        .wait("a scrolled row", |_, row| (row.len() == 78 && row.starts_with("capos> <aaa")).then_some(()))?;
    terminal.send(b"\x03\x0c")?;
    terminal.wait_line("(cleared)")?;
    paging(&mut terminal)
}

fn paging(terminal: &mut Terminal) -> Result<()> {
    let shown = |terminal: &Terminal, count: usize| {
        terminal.wait(&format!("{count} lines and more"), |lines, row| {
            let start = lines.iter().rposition(|line| line == "capos> caps")?;
            (row.starts_with(MORE) && lines.len() - start - 1 == count).then_some(())
        })
    };
    terminal.wait_prompt()?;
    terminal.send(b"caps\r")?;
    shown(terminal, 23)?;
    terminal.send(b"x\r")?;
    shown(terminal, 24)?;
    terminal.send(b" ")?;
    shown(terminal, 47)?;
    terminal.send(b"q")?;
    terminal.wait_prompt()?;
    let help = terminal.command("help")?;
    ensure!(help == HELP, "after paging, help prints {help:#?}");
    Ok(())
}

fn abuse(context: &mut Context) -> Result<()> {
    let (guest, mut terminal) = ready(context, DEFAULT)?;
    let address = guest.address(live::PORT)?;
    let check = |what: &str, terminal: &mut Terminal| -> Result<()> {
        let started = Instant::now();
        let answer = format!("there is no process {what:?}; ps lists them");
        let answered = |lines: &[String], _: &str| lines.contains(&answer).then_some(());
        // What is typed while there is too much input is lost with it.
        while terminal.wait_until(Instant::now() + ATTEMPT, "answer", answered).is_err() {
            ensure!(Instant::now() < context.deadline(), "no answer after {what}");
            // First the end of whatever the bytes were the start of: a loss, a page, a line.
            terminal.send(format!("\x03q\x03\r\x03caps {what}\r").as_bytes())?;
        }
        println!("  {what}: answered after {:.1} s", started.elapsed().as_secs_f64());
        live::wait_healthy(address, context.deadline())
    };
    terminal.wait_prompt()?;
    terminal.send(&[b'x'; 10_000])?;
    terminal.send(b"\r")?;
    terminal.wait_line("the line is longer than 512 characters and was ignored")?;
    check("a-long-line", &mut terminal)?;

    let mut state = 12_345_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    terminal.send(&noise.take(64 * 1024).collect::<Vec<u8>>())?;
    check("noise", &mut terminal)?;

    let paste = "A line of a paste that somebody did not mean to make here, of some length.\r";
    terminal.send(paste.repeat((1 << 20) / paste.len() + 1).as_bytes())?;
    check("a-paste", &mut terminal)?;

    let processes = terminal.command("ps")?;
    for line in processes.iter().skip(1) {
        let restarts = line.split_whitespace().nth(3);
        ensure!(restarts == Some("0"), "a process died: {line}");
    }
    Ok(())
}

fn no_nic(context: &mut Context) -> Result<()> {
    let (_guest, mut terminal) = start(context, DEFAULT, None)?;
    let output = terminal.command("net")?;
    ensure!(output == ["no network: init has given up on its process"], "net prints {output:?}");
    let status = terminal.command("status")?;
    for line in ["processes  3 of 6 running", "           netstack is failed", "network    none"] {
        ensure!(status.iter().any(|status| status == line), "status prints {status:#?} without {line:?}");
    }
    let processes = terminal.command("ps")?;
    ensure!(
        processes.iter().any(|line| line.starts_with("virtio-net: there is no PCI function")),
        "ps prints {processes:#?}"
    );
    everything(&mut terminal)
}

fn crashed_netstack(context: &mut Context) -> Result<()> {
    let (_guest, mut terminal) = start(context, "manifests/tests/crashed-netstack.capnp", Some(Nic::Modern))?;
    terminal.wait_line("process netstack")?;
    let early = terminal.command("net")?;
    ensure!(early.len() == 1 && early[0].starts_with("no network: "), "net prints {early:?}");
    terminal.wait_line("gave up after 4 restarts")?;
    let output = terminal.command("net")?;
    ensure!(output == ["no network: init has given up on its process"], "net prints {output:?}");
    crashes(&mut terminal)?;
    everything(&mut terminal)
}

/// The evidence of a process that reads where nothing is: the last four of its five ends, and of the last what it was doing.
fn crashes(terminal: &mut Terminal) -> Result<()> {
    let row = |number: usize| {
        format!("{number} netstack * * s * s {} page fault reading 0xdead0000 at *", number - 1)
    };
    let rows: Vec<String> = (2..=5).map(row).collect();
    let mut expected = vec!["no process id at lived restarts cause"];
    expected.extend(rows.iter().map(String::as_str));
    ensure_words("crashes", &terminal.command("crashes")?, &expected)?;
    let output = terminal.command("crashes netstack")?;
    let line = |start: &str| output.iter().find(|line| line.trim_start().starts_with(start));
    let (Some(code), Some(_), Some(registers), Some(_), Some(held)) =
        (line("code at "), line("rsp+000 "), line("rsi "), line("message "), line("held "))
    else {
        bail!("crashes netstack prints {output:#?}")
    };
    // The function that reads gets the address as its argument, and was called by the program's code.
    ensure!(registers.contains("rdi 00000000dead0000"), "{registers}");
    ensure!(!code.ends_with("nothing"), "no address of code on the stack: {code}");
    ensure!(held.contains("1 ownProcess") && held.contains("facet"), "{held}");
    ensure!(output.iter().any(|line| line.ends_with(" 2 facet of init")), "{output:#?}");
    // It had said where it would read. Its first call of init need not have been answered, and there is no other.
    ensure!(line("made last: ").is_some_and(|made| made.ends_with(": LogWriter.write")), "{output:#?}");
    let mut calls = output.iter().filter(|line| line.starts_with("  call "));
    ensure!(
        calls.all(|call| call.starts_with("  call made, ") && call.contains(", Supervisor.attend: ")),
        "{output:#?}"
    );
    ensure!(!output.iter().any(|line| line.contains("interface")), "a call without a name: {output:#?}");
    let output = terminal.command("crashes diag")?;
    ensure!(output == ["no crash of \"diag\" is known"], "crashes diag prints {output:?}");
    Ok(())
}

/// Every command that only reads answers.
fn everything(terminal: &mut Terminal) -> Result<()> {
    for command in ["cpu", "mem", "acpi", "pci", "irq", "timers", "devices", "ps", "caps", "help"] {
        let output = terminal.command(command)?;
        ensure!(
            output.len() > 1 && !output.iter().any(|line| line.starts_with("error")),
            "{command}: {output:?}"
        );
    }
    Ok(())
}

fn recovery(context: &mut Context) -> Result<()> {
    let (mut guest, mut terminal) = ready(context, "manifests/tests/hook.capnp")?;
    let mut hook = guest.hook()?;
    hook.wait_for("hook ready")?;
    for kill in 1..=5 {
        terminal.wait_prompt()?;
        terminal.send(b"half a li")?;
        terminal.wait("what was typed", |_, row| (row == format!("{PROMPT}half a li")).then_some(()))?;
        hook.order("kill diag")?;
        terminal.wait_line(&format!("restarting ({kill}"))?;
        // The line goes with the process that showed it, and what is typed before the next is there reaches nobody.
        terminal.wait("the next prompt", |_, row| (row == PROMPT).then_some(()))?;
        let answered = |lines: &[String], _: &str| {
            (lines.iter().filter(|line| *line == HELP[14]).count() == kill).then_some(())
        };
        while terminal.wait_until(Instant::now() + ATTEMPT, "help", answered).is_err() {
            ensure!(Instant::now() < context.deadline(), "no answer after kill {kill}");
            terminal.send(b"\x15help\r")?;
        }
    }
    Ok(())
}

fn ends(context: &mut Context, command: &str, reason: &str) -> Result<()> {
    let (mut guest, mut terminal) = ready(context, DEFAULT)?;
    let mut qmp = guest.qmp()?;
    terminal.wait_prompt()?;
    terminal.send(format!("{command}\r").as_bytes())?;
    let event = qmp.wait_event("SHUTDOWN")?;
    ensure!(event["guest"] == true && event["reason"] == reason, "QEMU says {event}");
    ensure!(guest.wait_exit()?.success(), "QEMU failed");
    // The last line was still in the driver's hands when it was stopped.
    terminal.wait_line(&format!("init: {command}: all processes are asked to end"))?;
    terminal.wait_line(&format!("kernel: {command} asked for by init"))?;
    Ok(())
}

fn no_power(context: &mut Context) -> Result<()> {
    let (_guest, mut terminal) = start(context, "manifests/tests/no-power.capnp", None)?;
    for command in ["reboot", "halt"] {
        let output = terminal.command(command)?;
        ensure!(output == ["not granted: the manifest leaves the power switch out"], "{command}: {output:?}");
    }
    // It was granted the console and nothing else, and says so of everything.
    for command in ["acpi", "pci", "irq", "timers", "logs"] {
        let output = terminal.command(command)?;
        ensure!(
            output.len() == 1 && output[0].contains("not granted to this process"),
            "{command}: {output:?}"
        );
    }
    let output = terminal.command("net")?;
    ensure!(output == ["no network: \"network\" is not an export of another process"], "net: {output:?}");
    Ok(())
}
