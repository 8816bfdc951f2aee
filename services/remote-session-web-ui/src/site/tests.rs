//! What is served, and how often the system is asked.

use std::time::Duration;

use serde_json::Value;

use super::{FRESH, Query, Site};
use crate::http::{Method, Request, Response};
use crate::server::{Answer, Handler};
use inspect::Snapshot;

const NOW: Duration = Duration::from_secs(9);

fn get(site: &mut Site, path: &str) -> Answer<Query> {
    site.route(&Request { method: Method::Get, path, query: None })
}

fn ready(answer: Answer<Query>) -> Response {
    match answer {
        Answer::Ready(response) => response,
        Answer::Later(query) => panic!("{query:?} is to be ready"),
    }
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(response.body.bytes()).expect("JSON")
}

#[test]
fn the_page_asks_for_nothing_from_elsewhere() {
    let mut site = Site::new(1);
    let mut total = 0;
    for path in ["/", "/app.js", "/app.css", "/icon.svg"] {
        let response = ready(get(&mut site, path));
        let text = std::str::from_utf8(response.body.bytes()).expect("text");
        total += text.len();
        let foreign = text.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !foreign.contains("http:") && !foreign.contains("https:") && !foreign.contains("//#"),
            "{path}"
        );
        for dangerous in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "cookie",
            "onclick=",
        ] {
            assert!(!text.contains(dangerous), "{path} has {dangerous}");
        }
        assert!(
            !text.contains("<style") && !text.contains(" style="),
            "{path}: the policy allows no inline style"
        );
    }
    assert!(total < 47 * 1024, "the page has grown to {total} bytes");
    let page = ready(get(&mut site, "/"));
    assert!(page.headers.contains("default-src 'none'") && page.headers.contains("frame-ancestors 'none'"));
}

#[test]
fn the_page_uses_only_what_is_served() {
    let mut site = Site::new(1);
    let page = ready(get(&mut site, "/"));
    let text = std::str::from_utf8(page.body.bytes()).expect("text");
    let mut used = 0;
    for attribute in ["src=\"", "href=\""] {
        for rest in text.split(attribute).skip(1) {
            let path = rest.split('"').next().expect("a closing quote");
            used += 1;
            match get(&mut site, path) {
                Answer::Ready(response) => assert_eq!(response.status.line(), "200 OK", "{path}"),
                Answer::Later(_) => {}
            }
        }
    }
    assert!(used >= 4);
}

/// Every element that the script looks up by its name is in the page.
#[test]
fn the_script_finds_its_elements() {
    let mut site = Site::new(1);
    let script = ready(get(&mut site, "/app.js"));
    let page = ready(get(&mut site, "/"));
    let text = |response: &Response| String::from_utf8(response.body.bytes().to_vec()).expect("text");
    let (script, page) = (text(&script), text(&page));
    let mut found = 0;
    for rest in script.split("$(\"").skip(1) {
        let name = rest.split('"').next().expect("a closing quote");
        assert!(page.contains(&format!("id=\"{name}\"")), "{name}");
        found += 1;
    }
    assert!(found > 10);
}

#[test]
fn the_system_is_asked_again_only_when_what_was_seen_is_old() {
    let mut site = Site::new(1);
    assert!(site.resolve(Query::State, NOW).is_none());
    assert!(site.take_wanted());
    site.update(&Snapshot::default(), NOW);
    for _ in 0..100 {
        assert!(site.resolve(Query::State, NOW + FRESH - Duration::from_nanos(1)).is_some());
        assert!(site.resolve(Query::Log(0), NOW + FRESH - Duration::from_nanos(1)).is_some());
    }
    assert!(!site.take_wanted());
    assert!(site.resolve(Query::Log(0), NOW + FRESH).is_none());
    assert!(site.take_wanted());
}

#[test]
fn log_lines_are_served_from_a_number_on() {
    let mut site = Site::new(42);
    site.log().push(b"one\ntwo \"quoted\"\n", 100, 0);
    site.update(&Snapshot::default(), NOW);
    let part = |site: &mut Site, from| json(&site.resolve(Query::Log(from), NOW).expect("fresh"));
    assert_eq!(
        part(&mut site, 0).to_string(),
        r#"{"epoch":42,"first":0,"lines":["one","two \"quoted\""],"next":2}"#
    );
    assert_eq!(part(&mut site, 1)["lines"], serde_json::json!(["two \"quoted\""]));
    assert_eq!(part(&mut site, 2)["lines"], serde_json::json!([]));
    assert_eq!(part(&mut site, u64::MAX)["first"], 0, "a number of another run starts over");
}

#[test]
fn log_queries() {
    let mut site = Site::new(1);
    let mut ask = |query| site.route(&Request { method: Method::Get, path: "/api/log", query });
    for (query, number) in [(None, 0), (Some("after=0"), 0), (Some("after=18446744073709551615"), u64::MAX)] {
        assert!(matches!(ask(query), Answer::Later(Query::Log(it)) if it == number), "{query:?}");
    }
    for query in ["", "after", "after=", "after=-1", "after=1&x", "after=18446744073709551616", "before=1"] {
        assert!(
            matches!(ask(Some(query)), Answer::Ready(it) if it.status.line() == "400 Bad Request"),
            "{query}"
        );
    }
}
