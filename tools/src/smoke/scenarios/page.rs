//! The page in a browser: what a person sees.

use std::{
    collections::HashSet,
    env,
    fs::{self, File},
    io::BufReader,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::live;
use crate::{
    manifest_check,
    qemu::{Machine, Nic},
    smoke::{Context, Scenario},
};

const MANIFEST: &str = "manifests/default.capnp";

/// Names under which distributions install the browser.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Size of the picture.
const WIDTH: u32 = 1280;
const HEIGHT: u32 = 1600;

/// Colours that the picture has at least: text is smoothed into many.
const COLOURS: usize = 16;

/// Most of the picture may be background, but not all of it.
const LARGEST_SHARE: f64 = 0.98;

/// Between two looks at whether the browser has ended.
const STEP: Duration = Duration::from_millis(50);

/// The page with its graph.
pub fn scenarios() -> Vec<Scenario> {
    vec![Scenario::new("page", "a browser shows every process of the manifest in the graph", 150, page)]
}

fn page(context: &mut Context) -> Result<()> {
    let Some(browser) = browser() else {
        // On a person's machine the rest can still be tested.
        ensure!(env::var_os("CI").is_none(), "no Chromium is installed (Debian: apt-get install chromium)");
        println!("  skipped: no Chromium is installed (Debian: apt-get install chromium)");
        return Ok(());
    };
    let mut machine = Machine::new(context.direct(MANIFEST)?);
    machine.nic = Some(Nic::Modern);
    machine.processors = 2;
    let (_guest, address) = live::start(context, machine)?;
    let url = format!("http://{address}/");
    let document = browse(context, browser, &["--dump-dom", &url])?;
    check_graph(context, &document)?;
    let picture = context.log_file().with_extension("png");
    let option = format!("--screenshot={}", picture.display());
    browse(context, browser, &[&option, &url])?;
    check_picture(&picture)
}

/// The browser that is installed.
pub(super) fn browser() -> Option<&'static str> {
    BROWSERS.into_iter().find(|name| {
        let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    })
}

/// Runs the browser without a window until it has done what `arguments` say; returns what it prints.
pub(super) fn browse(context: &Context, browser: &str, arguments: &[&str]) -> Result<String> {
    let profile = context.temporary()?;
    let output = profile.path().join("output");
    let mut child = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--hide-scrollbars", "--force-device-scale-factor=1"])
        .arg(format!("--user-data-dir={}", profile.path().join("profile").display()))
        .arg(format!("--window-size={WIDTH},{HEIGHT}"))
        // Time of the page's own, which stands still while it waits for the network.
        .arg("--virtual-time-budget=6000")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(File::create(&output)?)
        .stderr(File::create(profile.path().join("errors"))?)
        .spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            let errors = fs::read(profile.path().join("errors")).unwrap_or_default();
            ensure!(status.success(), "{browser}: {status}: {}", String::from_utf8_lossy(&errors));
            return Ok(String::from_utf8_lossy(&fs::read(&output)?).into_owned());
        }
        if Instant::now() > context.deadline() {
            child.kill()?;
            child.wait()?;
            bail!("the browser does not end");
        }
        thread::sleep(STEP);
    }
}

/// Whether the graph shows every process of the manifest, and init.
fn check_graph(context: &Context, document: &str) -> Result<()> {
    let root = &context.paths().root;
    let known = manifest_check::binaries(root).map_err(anyhow::Error::msg)?;
    let manifest = manifest_check::check(root, &root.join(MANIFEST), manifest_check::DEFAULT_MEMORY, &known)
        .map_err(anyhow::Error::msg)?;
    let texts = graph_texts(document);
    ensure!(!texts.is_empty(), "the page shows no graph:\n{document}");
    for name in manifest.entries.iter().map(|entry| entry.name.as_str()).chain(["init"]) {
        ensure!(texts.iter().any(|text| text == name), "the graph does not show {name}, but {texts:?}");
    }
    Ok(())
}

/// The texts of all pictures in the document, as a person reads them.
fn graph_texts(document: &str) -> Vec<String> {
    let pictures = document.split("<svg").skip(1).filter_map(|rest| rest.split("</svg>").next());
    let elements = pictures.flat_map(|picture| picture.split("<text").skip(1));
    let texts = elements.filter_map(|rest| {
        let (attributes, rest) = rest.split_once('>')?;
        let hidden = attributes.contains("display: none") || attributes.contains("visibility: hidden");
        let content = rest.split("</text>").next().filter(|_| !hidden)?;
        Some(plain(content))
    });
    texts.collect()
}

/// Text without the elements in it.
fn plain(markup: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for character in markup.chars() {
        match character {
            '<' => inside = true,
            '>' => inside = false,
            other if !inside => text.push(other),
            _ => {}
        }
    }
    text.trim().to_owned()
}

/// Whether a picture has the right size and shows something.
fn check_picture(file: &Path) -> Result<()> {
    let mut decoder = png::Decoder::new(BufReader::new(File::open(file)?));
    decoder.set_transformations(png::Transformations::normalize_to_color8() | png::Transformations::ALPHA);
    let mut reader = decoder.read_info().context("the picture is no PNG")?;
    let mut pixels = vec![0; reader.output_buffer_size().context("the picture is too large")?];
    let info = reader.next_frame(&mut pixels)?;
    ensure!((info.width, info.height) == (WIDTH, HEIGHT), "the picture is {}x{}", info.width, info.height);
    let pixels: Vec<&[u8]> = pixels.chunks_exact(info.color_type.samples()).collect();
    let colours: HashSet<&[u8]> = pixels.iter().copied().collect();
    ensure!(colours.len() >= COLOURS, "the picture has {} colours", colours.len());
    let mut counts = std::collections::HashMap::new();
    for pixel in &pixels {
        *counts.entry(*pixel).or_insert(0_u32) += 1;
    }
    let most = counts.values().max().copied().unwrap_or_default();
    let share = f64::from(most) / f64::from(WIDTH * HEIGHT);
    ensure!(share < LARGEST_SHARE, "{:.1} % of the picture have one colour", 100.0 * share);
    Ok(())
}
