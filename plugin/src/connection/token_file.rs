//! A bearer token that is kept in a file and may be replaced there: read as kubectl does, without the line end that an
//! editor leaves (client-go `transport/token_source.go`).

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::Unusable;
use crate::error::spelled;

/// How long a token is used before its file is read again.
const FRESH: Duration = Duration::from_secs(50);

pub(super) struct TokenFile {
    path: PathBuf,
    last: Mutex<(HeaderValue, Instant)>,
}

impl TokenFile {
    /// Reads the file; an error says why it holds no token.
    pub(super) fn open(path: PathBuf) -> Result<Self, Unusable> {
        let first = read(&path)
            .map_err(|unusable| Unusable { why: format!("{}: {}", spelled(&path), unusable.why), ..unusable })?;
        Ok(Self { path, last: Mutex::new((first, Instant::now())) })
    }

    /// The value of `Authorization`. A file that cannot be read any more leaves the token that it held.
    pub(super) fn header(&self) -> HeaderValue {
        self.header_at(Instant::now())
    }

    fn header_at(&self, now: Instant) -> HeaderValue {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(last.1) >= FRESH {
            *last = (read(&self.path).unwrap_or_else(|_| last.0.clone()), now);
        }
        last.0.clone()
    }
}

fn read(path: &PathBuf) -> Result<HeaderValue, Unusable> {
    let text = fs::read_to_string(path).map_err(|e| Unusable::unread(&e, e.to_string()))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Unusable::wrong("it is empty"));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Unusable::wrong("it has what no HTTP header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_is_no_part_of_the_token_and_a_new_one_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "first\n").unwrap();
        let file = TokenFile::open(path.clone()).unwrap();
        let (begin, later) = (Instant::now(), Instant::now() + FRESH);
        assert_eq!(file.header(), "Bearer first");
        fs::write(&path, " second\r\n").unwrap();
        assert_eq!(file.header_at(begin), "Bearer first");
        assert_eq!(file.header_at(later), "Bearer second");
        fs::remove_file(&path).unwrap();
        assert_eq!(file.header_at(later + FRESH), "Bearer second");
    }

    #[test]
    fn what_holds_no_token_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for (text, said) in [("\n", "it is empty"), ("a\nb", "no HTTP header")] {
            fs::write(&path, text).unwrap();
            let error = TokenFile::open(path.clone()).err().unwrap().why;
            assert!(error.contains(said) && error.contains("/token: "), "{error}");
        }
    }
}
