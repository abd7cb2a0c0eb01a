//! Files that credentials are read from: none that would be read for ever, and none that is waited for without end.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Unusable;
use crate::bounded::{LARGEST, is_device};
use crate::error::spelled;

/// What reading comes to; `None` where it does not end in time. Nobody waits any more for what is still read then.
pub(super) fn within<T: Send + 'static>(limit: Duration, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (send, done) = mpsc::channel();
    thread::spawn(move || drop(send.send(read())));
    done.recv_timeout(limit).ok()
}

/// A file that a credential is read from, under this key. One that is another kind of file, or does not end, would be read
/// for ever. The error says what is wrong with it.
pub(super) fn is_file(key: impl Fn() -> String, path: &Path, limit: Duration) -> Result<(), Unusable> {
    let no = |why: &str| {
        let (key, path) = (key(), spelled(path));
        Unusable::wrong(format!("{key}: {path} is no file that a credential could be in: it {why}; name another"))
    };
    let unread = |error: io::Error| {
        let (key, path) = (key(), spelled(path));
        let why = format!("{key}: {path} cannot be read: {error}; correct the path, or put the file there");
        Unusable::unread(&error, why)
    };
    let found = std::fs::metadata(path).map_err(unread)?;
    if found.is_dir() {
        return Err(no("is a directory"));
    }
    if is_device(&found) {
        return Err(no("is a device"));
    }
    if !found.is_file() {
        return Err(no("is a pipe or a socket"));
    }
    let own = path.to_owned();
    let length =
        within(limit, move || File::open(own).and_then(|f| io::copy(&mut f.take(LARGEST + 1), &mut io::sink())));
    match length {
        None => Err(Unusable { is_unread: true, ..no(&format!("does not end within {} s", limit.as_secs())) }),
        Some(Err(error)) => Err(unread(error)),
        Some(Ok(length)) if length > LARGEST => Err(no(&format!("is longer than {LARGEST} bytes"))),
        Some(_) => Ok(()),
    }
}
