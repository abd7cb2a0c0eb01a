use std::time::Duration;

use futures::FutureExt;
use futures::future::try_join_all;

use super::bench::{Bench, Case, EarlyEnd, done, holds};
use super::calls::{over, taken_up};
use crate::media::{media_address, session_description};
use crate::{Call, MediaKind, MediaReport, MediaSocket, Transport};

pub(super) const CASES: &[Case] = &[
    Case {
        id: "call-voice",
        shows: "two phones that talk hear each other: RTP both ways, from the addresses that the call told",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| talk(bench, &[MediaKind::Audio]).boxed(),
    },
    Case {
        id: "call-video",
        shows: "the same with pictures: RTP of voice and video both ways",
        lines: 2,
        over: &Transport::ALL,
        run: |bench| talk(bench, &[MediaKind::Audio, MediaKind::Video]).boxed(),
    },
];

/// More loss than this is heard, in packets of a hundred.
const MOST_LOST: f64 = 5.0;

/// A phone's sockets, one a kind, and what keeps their ways open.
struct Ears {
    sockets: Vec<MediaSocket>,
    _ways_held: Vec<Box<dyn Send + Sync>>,
}

impl Ears {
    async fn open(bench: &Bench<'_>, kinds: &[MediaKind]) -> Result<Self, EarlyEnd> {
        let opened = try_join_all(kinds.iter().map(|kind| bench.media_socket(*kind))).await?;
        let (sockets, ways_held) = opened.into_iter().unzip();
        Ok(Self { sockets, _ways_held: ways_held })
    }

    fn description(&self) -> String {
        let streams: Vec<_> = self.sockets.iter().map(|s| (s.kind(), s.address())).collect();
        session_description(&streams, 1, "sendrecv")
    }
}

/// Sends what a phone's sockets have to say to where the other wants it, and tells what each heard: how many packets of
/// its kind it sent itself, and what came.
async fn said(ears: Ears, call: &Call, lasting: Duration) -> Result<Vec<(MediaKind, crate::MediaHeard)>, EarlyEnd> {
    let Ears { sockets, _ways_held } = ears;
    let saying = sockets.into_iter().map(|socket| async move {
        let kind = socket.kind();
        let peer = done("media", "where it is wanted", media_address(call.remote_media(), kind))?;
        Ok((kind, done("media", "a way out", socket.exchange(peer, lasting).await)?))
    });
    try_join_all(saying).await
}

async fn talk(bench: &Bench<'_>, kinds: &[MediaKind]) -> Result<(), EarlyEnd> {
    let phones = async { Ok::<_, EarlyEnd>((bench.registered(0).await?, bench.registered(1).await?)) };
    let ((mut from, mut to), mine, theirs) =
        futures::try_join!(phones, Ears::open(bench, kinds), Ears::open(bench, kinds))?;
    let (offered, answered) = (mine.description(), theirs.description());
    let (caller, other) = Box::pin(taken_up(bench, &from, &mut to, &offered, &answered)).await?;
    let (mine, theirs) = futures::try_join!(said(mine, &caller, bench.talk), said(theirs, &other, bench.talk))?;
    over(bench, caller, other).await?;
    let numbers = [&from, &to].map(|phone| phone.account().number.clone());
    for ((kind, at_caller), (_, at_called)) in mine.into_iter().zip(theirs) {
        let [one, two] = numbers.each_ref();
        for (from, to, sender, hearer) in [(one, two, at_caller, at_called), (two, one, at_called, at_caller)] {
            let (from, to) = (from.clone(), to.clone());
            let (sent, received, jitter) = (sender.sent, hearer.received, hearer.jitter);
            bench.media.lock().push(MediaReport { kind, from, to, sent, received, jitter });
        }
    }
    let reports = bench.media.lock().clone();
    for report in reports {
        let step = format!("{} from {} to {}", report.kind, report.from, report.to);
        let seen = || format!("{} of {} packets came", report.received, report.sent);
        let fine = report.received > 0 && report.loss() <= MOST_LOST;
        holds(&step, &format!("RTP of which at most {MOST_LOST} % is lost"), fine, seen)?;
    }
    bench.leave([&mut from, &mut to]).await;
    Ok(())
}
