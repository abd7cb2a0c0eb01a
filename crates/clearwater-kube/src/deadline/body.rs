//! Bodies of answers that are handed on as they come, and bounded all the same.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Bytes, Frame, SizeHint};
use kube::client::Body;
use tokio::time::{Instant, Sleep, sleep};
use tower::BoxError;

use super::{LONGEST, Late};

/// What must come of a log within the deadline, in bytes, where it does not end before: less is a server that drips.
const PIECE: usize = 4096;
/// The most that is counted as waiting for what was there when it was asked for: it may have come long before, while whoever
/// reads did not ask.
const UNASKED: Duration = Duration::from_secs(1);

/// An answer that is handed on as it comes, each [`PIECE`] of it within a time. Nothing of it is kept, and no time runs while
/// nobody asks for more.
pub(super) struct Paced {
    body: Body,
    time: Duration,
    /// How long the present piece has been waited for, up to `since`.
    waited: Duration,
    /// Since when more is waited for.
    since: Option<Instant>,
    /// How much of the present piece came.
    came: usize,
    alarm: Pin<Box<Sleep>>,
}

impl Paced {
    pub(super) fn new(body: Body, time: Duration) -> Self {
        Self { body, time, waited: Duration::ZERO, since: None, came: 0, alarm: Box::pin(sleep(time)) }
    }

    fn took(&mut self, bytes: usize) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| since.elapsed().min(UNASKED));
        self.waited += waited;
        self.came += bytes;
        if self.came >= PIECE {
            (self.came, self.waited) = (0, Duration::ZERO);
        }
    }
}

impl hyper::body::Body for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some(Ok(frame)) = &next {
                self.took(frame.data_ref().map_or(0, Bytes::len));
            }
            return Poll::Ready(next.map(|frame| frame.map_err(Into::into)));
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let until = since + self.time.saturating_sub(self.waited);
        if self.alarm.deadline() != until {
            self.alarm.as_mut().reset(until);
        }
        ready!(self.alarm.as_mut().poll(cx));
        Poll::Ready(Some(Err(Late::of_request(self.time).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What is watched: one line an event, each of a length that an object can have.
pub(super) struct Events {
    body: Body,
    /// How much of the present line came.
    came: usize,
}

impl Events {
    pub(super) fn new(body: Body) -> Self {
        Self { body, came: 0 }
    }
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = next.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.came = data.iter().rev().position(|b| *b == b'\n').unwrap_or(self.came + data.len());
            if self.came > LONGEST {
                return Poll::Ready(Some(Err(format!("an event of more than {LONGEST} bytes").into())));
            }
        }
        Poll::Ready(next.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
