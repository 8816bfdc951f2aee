//! Requests and their exact answers, whole and split at every byte.

use super::{Bench, NOW, answer};
use crate::http::{MAXIMUM_CONTENT, MAXIMUM_HEADER_SECTION, MAXIMUM_HEADERS, MAXIMUM_REQUEST_LINE, Outcome};

const HEALTH: &str = concat!(
    "HTTP/1.1 200 OK\r\n",
    "Content-Type: application/json\r\n",
    "Cache-Control: no-store\r\n",
    "X-Content-Type-Options: nosniff\r\n",
    "Content-Length: 45\r\n",
    "\r\n",
    "{\"ok\":true,\"service\":\"remote-session-web-ui\"}",
);

/// The health answer on a connection that does not go on as HTTP/1.1 does by default.
fn health_with(connection: &str) -> String {
    HEALTH.replace("Content-Length", &format!("Connection: {connection}\r\nContent-Length"))
}

/// A failure in words.
fn words(status: &str, headers: &str, detail: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{headers}Content-Length: {}\r\n\r\n{status}: {detail}\n",
        status.len() + detail.len() + 3,
    )
}

/// A failure after which the connection closes.
fn fatal(status: &str, detail: &str) -> String {
    words(status, "Connection: close\r\n", detail)
}

fn bad(detail: &str) -> String {
    fatal("400 Bad Request", detail)
}

fn not_found() -> String {
    words("404 Not Found", "", "there is nothing at this address")
}

fn not_allowed() -> String {
    words("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "this address can only be read, by GET or HEAD")
}

/// Checks the answer to `request` in one piece, split at every byte, and a byte at a time.
fn check(request: &str, expected: &str) {
    let bytes = request.as_bytes();
    let (whole, closed) = answer(&[bytes]);
    assert_eq!(whole, expected, "{request:?}");
    for split in 1..bytes.len() {
        let (one, two) = bytes.split_at(split);
        assert_eq!(answer(&[one, two]), (whole.clone(), closed), "{request:?} split at {split}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(answer(&single), (whole, closed), "{request:?} a byte at a time");
}

/// Checks a request to 1.1 with a Host header and these further lines.
fn check_with(line: &str, headers: &str, expected: &str) {
    check(&format!("{line}\r\nHost: capos\r\n{headers}\r\n"), expected);
}

#[test]
fn health() {
    check_with("GET /healthz HTTP/1.1", "", HEALTH);
    check_with("GET /healthz HTTP/1.1", "Connection: close\r\n", &health_with("close"));
    check_with("GET /healthz HTTP/1.1", "connection: foo , CLOSE\r\n", &health_with("close"));
    check_with("GET /healthz HTTP/1.1", "Connection: keep-alive\r\n", HEALTH);
    check("GET /healthz HTTP/1.0\r\n\r\n", &health_with("close"));
    check("GET /healthz HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &health_with("keep-alive"));
    check("GET http://capos:8080/healthz HTTP/1.1\r\nHost: capos\r\n\r\n", HEALTH);
    check("GET HTTP://[::1]/healthz HTTP/1.1\r\nHost: capos\r\n\r\n", HEALTH);
    check("GET /healthz HTTP/1.1\nHost: capos\n\n", HEALTH);
    check("\r\n\r\nGET /healthz HTTP/1.1\r\nHost:\r\n\r\n", HEALTH);
}

#[test]
fn every_other_spelling_of_health_is_not_found() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "get", "GETS"] {
        check_with(&format!("{method} /healthz HTTP/1.1"), "", &not_found());
    }
    for path in [
        "/healthz/",
        "/healthz/extra",
        "/HEALTHZ",
        "/Healthz",
        "/healthz?",
        "/healthz?x",
        "/%68ealthz",
        "/healthz%20",
        "//healthz",
        "/./healthz",
        "/x/../healthz",
        "/healthz;",
        "/healthz.",
        "/health",
        "/healthzz",
        "http://capos/healthz/",
        "http://capos/healthz?x",
    ] {
        check_with(&format!("GET {path} HTTP/1.1"), "", &not_found());
    }
    let (answered, _) = answer(&[b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n"]);
    assert_eq!(answered, without_content(&not_found()));
}

#[test]
fn paths_and_methods() {
    check_with("GET /nothing HTTP/1.1", "", &not_found());
    check_with("POST /nothing HTTP/1.1", "", &not_found());
    check_with("GET /../etc/passwd HTTP/1.1", "", &not_found());
    for path in ["/", "/app.js", "/app.css", "/icon.svg", "/api/state", "/api/log", "/?x"] {
        check_with(&format!("DELETE {path} HTTP/1.1"), "", &not_allowed());
        check_with(&format!("OPTIONS {path} HTTP/1.1"), "", &not_allowed());
    }
    check_with(
        "OPTIONS * HTTP/1.1",
        "",
        "HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Allow: GET, HEAD\r\n\r\n",
    );
    check_with("GET * HTTP/1.1", "", &bad("the target * is for OPTIONS alone"));
    check_with(
        "GET /api/log?after=x HTTP/1.1",
        "",
        &words("400 Bad Request", "", "the query must be after= and a line number"),
    );
}

#[test]
fn head_has_the_headers_of_get() {
    for path in ["/", "/app.js", "/app.css", "/icon.svg", "/api/state", "/api/log?after=1", "/nothing"] {
        let get = answer(&[format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()]);
        let head = answer(&[format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()]);
        assert_eq!(head.0, without_content(&get.0), "{path}");
    }
}

fn without_content(response: &str) -> String {
    let end = response.find("\r\n\r\n").expect("a response has a head");
    response[..end + 4].to_owned()
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let one = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let other = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n";
    check(&[one, one, other, one].concat(), &[HEALTH, HEALTH, &not_found(), HEALTH].concat());
    let (many, closed) = answer(&[one.repeat(500).as_bytes()]);
    assert_eq!((many.as_str(), closed), (HEALTH.repeat(500).as_str(), false));
    // Nothing behind a request that closes is answered.
    check(&["GET /healthz HTTP/1.0\r\n\r\n", one].concat(), &health_with("close"));
    check(&["GET /healthz HTTP/9.9\r\n\r\n", one].concat(), &unsupported());
}

#[test]
fn pages_and_data_follow_each_other() {
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let paths = ["/", "/api/state", "/healthz", "/app.js", "/api/log", "/healthz"];
    let expected: String = paths.map(|path| answer(&[request(path).as_bytes()]).0).concat();
    let all: String = paths.map(request).concat();
    assert_eq!(answer(&[all.as_bytes()]), (expected, false));
}

fn unsupported() -> String {
    fatal("505 HTTP Version Not Supported", "this server speaks HTTP/1.0 and HTTP/1.1")
}

#[test]
fn request_lines_that_are_none() {
    check("GET /healthz HTTP/2.0\r\n\r\n", &unsupported());
    check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &unsupported());
    check("GET / HTTP/1.2\r\nHost: x\r\n\r\n", &unsupported());
    check("GET / HTTP/3\r\n", &unsupported());
    let version = bad("the request line does not end in an HTTP version");
    check("GET / FTP/1.1\r\n\r\n", &version);
    check("GET / http/1.1\r\n\r\n", &version);
    check("GET / HTTP/x\r\n\r\n", &version);
    let line = bad("the request line is not a method, a target and a version");
    check("GET /\r\n\r\n", &line);
    check("GET\r\n", &line);
    check("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", &line);
    check("GET /\t HTTP/1.1\r\nHost: x\r\n\r\n", &line);
    check("G@T / HTTP/1.1\r\nHost: x\r\n\r\n", &line);
    check(" GET / HTTP/1.1\r\n", &bad("this is not HTTP/1.1"));
    check("\u{16}\u{3}\u{1}\u{2}\0", &bad("this is not HTTP/1.1"));
    check("\r\n\n\n\r\n\n\n\n\n\n", &bad("there are only empty lines"));
    check("GET / HTTP/1.1 x\r\nHost: x\r\n\r\n", &bad("a line does not end in CR LF"));
}

#[test]
fn targets() {
    let wrong = bad("the request target must be a path or an http URL");
    for target in
        ["healthz", "https://capos/", "http:///healthz", "http://", "capos:80", "http://us er", "http://a@b/"]
    {
        if !target.contains(' ') {
            check_with(&format!("GET {target} HTTP/1.1"), "", &wrong);
        }
    }
    check_with("CONNECT capos:80 HTTP/1.1", "", &wrong);
    let encoded = bad("the request target has a character that must be encoded");
    check_with("GET /healthz#x HTTP/1.1", "", &encoded);
    check_with("GET /h\u{e9}althz HTTP/1.1", "", &encoded);
    assert!(answer(&[b"GET http://capos HTTP/1.1\r\nHost: x\r\n\r\n"]).0.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(
        answer(&[b"GET http://capos?x HTTP/1.1\r\nHost: x\r\n\r\n"]).0.starts_with("HTTP/1.1 200 OK\r\n")
    );
}

#[test]
fn host() {
    check("GET /healthz HTTP/1.1\r\n\r\n", &bad("a Host header is required"));
    check("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", &bad("there is more than one Host header"));
    check("GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n", &bad("the Host header names no host"));
    check("GET /healthz HTTP/1.1\r\nhOST: [fe80::1]:8080\r\n\r\n", HEALTH);
}

#[test]
fn header_lines_that_are_none() {
    let name = bad("a header line does not start with a field name");
    check_with("GET /healthz HTTP/1.1", "no colon\r\n", &name);
    check_with("GET /healthz HTTP/1.1", "Space : before\r\n", &name);
    check_with("GET /healthz HTTP/1.1", ": empty\r\n", &name);
    check_with("GET /healthz HTTP/1.1", "A: 1\r\n folded\r\n", &name);
    check_with("GET /healthz HTTP/1.1", "A: b\0c\r\n", &bad("a header value has a control character"));
    check_with("GET /healthz HTTP/1.1", "A: b\rc\r\n", &bad("a header value has a control character"));
    check_with("GET /healthz HTTP/1.1", "A: b\u{e9}\r\n", HEALTH);
}

#[test]
fn content_is_read_and_dropped() {
    let next = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let both = not_found() + HEALTH;
    let post = |headers: &str, content: &str| {
        format!("POST /healthz HTTP/1.1\r\nHost: x\r\n{headers}\r\n{content}{next}")
    };
    check(&post("Content-Length: 0\r\n", ""), &both);
    check(&post("Content-Length: 5\r\n", "GET /"), &both);
    check(&post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), &both);
    check(&post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), &both);
    check(
        &post("transfer-encoding: CHUNKED\r\n", "5;a=b\r\nhello\r\nA\r\n0123456789\r\n000\r\nT: x\r\n\r\n"),
        &both,
    );
    check_with("GET /healthz HTTP/1.1", "Content-Length: 3\r\n", "");
    let full = "x".repeat(MAXIMUM_CONTENT as usize);
    let (read, closed) = answer(&[post(&format!("Content-Length: {MAXIMUM_CONTENT}\r\n"), &full).as_bytes()]);
    assert_eq!((read, closed), (both, false));
}

#[test]
fn content_that_is_refused() {
    let large = fatal("413 Content Too Large", "the request's content is over 64 KiB");
    for length in ["65537", "99999999999", "99999999999999999999999999"] {
        check_with("POST / HTTP/1.1", &format!("Content-Length: {length}\r\n"), &large);
    }
    check_with("POST / HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n10001\r\n", &large);
    let number = bad("the Content-Length header is no number");
    for length in ["", "x", "-1", "+1", "0x10", "1 2", "5, 5", "1.0"] {
        check_with("POST / HTTP/1.1", &format!("Content-Length: {length}\r\n"), &number);
    }
    check_with(
        "POST / HTTP/1.1",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        &bad("there are two Content-Length headers that differ"),
    );
    check_with(
        "POST / HTTP/1.1",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        &bad("there are both Content-Length and Transfer-Encoding"),
    );
    let last = bad("chunked must be the last transfer coding, and only once");
    check_with("POST / HTTP/1.1", "Transfer-Encoding: gzip\r\n", &last);
    check_with("POST / HTTP/1.1", "Transfer-Encoding: chunked, gzip\r\n", &last);
    check_with("POST / HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", &last);
    check_with(
        "POST / HTTP/1.1",
        "Transfer-Encoding: gzip, chunked\r\n",
        &fatal("501 Not Implemented", "the only transfer coding here is chunked"),
    );
    check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", &bad("HTTP/1.0 has no Transfer-Encoding"));
    let chunk = bad("the chunked content is not framed as it must be");
    for content in ["\r\n", "x\r\n", "5\r\nhelloX", "-1\r\n", "11111111111111111\r\n", &"1".repeat(256)] {
        check_with("POST / HTTP/1.1", &format!("Transfer-Encoding: chunked\r\n\r\n{content}"), &chunk);
    }
    let trailers = "T: 0123456789\r\n".repeat(600);
    let (refused, _) =
        answer(&[format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}")
            .as_bytes()]);
    assert_eq!(refused, fatal("431 Request Header Fields Too Large", "the trailer section is over 8 KiB"));
}

/// Tiny chunks with long extensions cost the client no content, so what they take on the wire is bounded too.
#[test]
fn chunk_overhead_is_bounded() {
    let chunk = format!("1;{}\r\nx\r\n", "e".repeat(200));
    let content = chunk.repeat(2000);
    let (refused, closed) =
        answer(&[
            format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{content}").as_bytes()
        ]);
    assert_eq!(refused, fatal("413 Content Too Large", "the request's content is over 64 KiB"));
    assert!(closed);
}

#[test]
fn expectations() {
    check_with("GET /healthz HTTP/1.1", "Expect: 100-continue\r\n", HEALTH);
    check_with(
        "POST /healthz HTTP/1.1",
        "Expect: 100-Continue\r\nContent-Length: 5\r\n",
        &words("404 Not Found", "Connection: close\r\n", "there is nothing at this address"),
    );
    check_with(
        "GET /healthz HTTP/1.1",
        "Expect: wonders\r\n",
        &fatal("417 Expectation Failed", "the only expectation here is 100-continue"),
    );
}

#[test]
fn limits() {
    let line = |length: usize| {
        let target = "x".repeat(length - "GET / HTTP/1.1".len());
        format!("GET /{target} HTTP/1.1\r\nHost: x\r\n\r\n")
    };
    let long = fatal("414 URI Too Long", "the request line is over 8000 bytes");
    assert_eq!(answer(&[line(MAXIMUM_REQUEST_LINE).as_bytes()]).0, not_found());
    assert_eq!(answer(&[line(MAXIMUM_REQUEST_LINE + 1).as_bytes()]).0, long);
    assert_eq!(answer(&["x".repeat(MAXIMUM_REQUEST_LINE + 2).as_bytes()]).0, long);

    let section = |length: usize| {
        let filler = "x".repeat(length - "Host: x\r\nA: \r\n\r\n".len());
        format!("GET /nothing HTTP/1.1\r\nHost: x\r\nA: {filler}\r\n\r\n")
    };
    let large = fatal("431 Request Header Fields Too Large", "the header section is over 8 KiB or 64 fields");
    assert_eq!(answer(&[section(MAXIMUM_HEADER_SECTION).as_bytes()]).0, not_found());
    assert_eq!(answer(&[section(MAXIMUM_HEADER_SECTION + 1).as_bytes()]).0, large);
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(MAXIMUM_HEADER_SECTION));
    assert_eq!(answer(&[endless.as_bytes()]).0, large);

    let fields =
        |count: usize| format!("GET /nothing HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    check(&fields(MAXIMUM_HEADERS), &not_found());
    check(&fields(MAXIMUM_HEADERS + 1), &large);
    // A bad line weighs more, wherever the bytes were split.
    check(&fields(MAXIMUM_HEADERS + 1).replace("HTTP/1.1", "HTTP/7.1"), &unsupported());

    // Both at their largest still fit.
    let mut largest = line(MAXIMUM_REQUEST_LINE);
    let filler = "x".repeat(MAXIMUM_HEADER_SECTION - "Host: x\r\nA: \r\n\r\n".len());
    largest = largest.replace("Host: x\r\n", &format!("Host: x\r\nA: {filler}\r\n"));
    assert_eq!(answer(&[largest.as_bytes()]).0, not_found());
    let single: Vec<&[u8]> = largest.as_bytes().chunks(1).collect();
    assert_eq!(answer(&single).0, not_found());
}

#[test]
fn a_client_that_finishes_is_answered_first() {
    let mut bench = Bench::new();
    bench.client.borrow_mut().ended = true;
    let outcome = bench.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /half", NOW);
    assert_eq!((outcome, bench.output().as_str(), bench.finished()), (Outcome::Ended, HEALTH, true));
}

#[test]
fn no_answer_sets_a_cookie_or_has_a_date() {
    for path in ["/", "/app.js", "/app.css", "/icon.svg", "/api/state", "/api/log", "/healthz", "/nothing"] {
        let (answered, _) = answer(&[format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()]);
        let lower = answered.to_lowercase();
        assert!(!lower.contains("set-cookie") && !lower.contains("\r\ndate:"), "{answered}");
        assert!(lower.contains("x-content-type-options: nosniff"), "{answered}");
    }
}
