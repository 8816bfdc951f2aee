//! Fixed responses: the page, its parts, and the health check.

use crate::http::{Body, Caching, Response, Status};

/// Headers of everything that a browser shows or runs.
///
/// The page needs its own script, style, icon and data, and nothing else; no other page may frame it. It sets no cookie.
macro_rules! page_headers {
    () => {
        "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
         Referrer-Policy: no-referrer\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\n"
    };
}

/// The headers of the page and of its data.
pub const PAGE_HEADERS: &str = page_headers!();

const JSON: &str = "application/json";

/// The answer to a health check.
pub const HEALTH: Response = Response {
    status: Status::Ok,
    content_type: JSON,
    caching: Caching::NoStore,
    headers: "",
    body: Body::Static(br#"{"ok":true,"service":"remote-session-web-ui"}"#),
};

/// A file of the page.
pub fn asset(path: &str) -> Option<Response> {
    let (content_type, bytes): (_, &'static [u8]) = match path {
        "/" => ("text/html; charset=utf-8", include_bytes!("../../page/index.html")),
        "/app.js" => ("text/javascript; charset=utf-8", include_bytes!(concat!(env!("OUT_DIR"), "/app.js"))),
        "/app.css" => ("text/css; charset=utf-8", include_bytes!("../../page/app.css")),
        "/icon.svg" => ("image/svg+xml", include_bytes!("../../page/icon.svg")),
        _ => return None,
    };
    Some(Response {
        status: Status::Ok,
        content_type,
        caching: Caching::Revalidate,
        headers: PAGE_HEADERS,
        body: Body::Static(bytes),
    })
}

/// Data as JSON.
pub fn json(body: Body) -> Response {
    Response {
        status: Status::Ok,
        content_type: JSON,
        caching: Caching::NoStore,
        headers: PAGE_HEADERS,
        body,
    }
}
