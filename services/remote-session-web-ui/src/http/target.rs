//! Request targets \[RFC 9112 3.2\].

use super::status::Failure;

/// Where a request points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A path, without any decoding, and what follows its `?`.
    Path {
        /// Starts with `/`.
        path: &'a str,
        /// `None` without a `?`.
        query: Option<&'a str>,
    },
    /// `*`: the server as a whole.
    Server,
}

impl<'a> Target<'a> {
    /// Reads origin-form, absolute-form with scheme http, and asterisk-form.
    pub fn parse(text: &'a str) -> Result<Self, Failure> {
        if text == "*" {
            return Ok(Self::Server);
        }
        if text.bytes().any(|byte| byte == b'#' || byte >= 0x80) {
            return Err(Failure::malformed("the request target has a character that must be encoded"));
        }
        let rest = if text.starts_with('/') { text } else { Self::behind_authority(text)? };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        // An empty path of an absolute-form is the root [RFC 9110 4.2.3].
        Ok(Self::Path { path: if path.is_empty() { "/" } else { path }, query })
    }

    /// What follows `http://authority`.
    fn behind_authority(text: &'a str) -> Result<&'a str, Failure> {
        const SCHEME: &str = "http://";
        const WRONG: Failure = Failure::malformed("the request target must be a path or an http URL");
        let scheme = text.get(..SCHEME.len()).ok_or(WRONG)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(WRONG);
        }
        let rest = text.get(SCHEME.len()..).unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // User information is deprecated, and a sign of a phishing link [RFC 9110 4.2.4].
        if authority.is_empty() || !is_authority(authority.as_bytes()) {
            return Err(WRONG);
        }
        Ok(path)
    }
}

/// Whether `text` has only characters of a host and port \[RFC 3986 3.2.2\].
pub fn is_authority(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(byte))
}
