//! The start plan of a topology of one's own: Clearwater, a media server and a conference bridge beside it, and what
//! has to wait for what.
//!
//! `cargo run -p clearwater --example start_plan`

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use clearwater::component::{Release, entry};
use clearwater::order::{Graph, Link, Need, Policy, Subscribers};

/// The plan as text.
pub(crate) fn start_plan() -> Result<String, Box<dyn Error>> {
    let mut graph = Graph::clearwater(Release::Hunter, Subscribers::BuiltIn);
    graph.add("media-server").add("conference-bridge");
    graph.depend(
        "conference-bridge",
        "media-server",
        Link::new(Need::Hard, Need::Hard).evidence("the bridge's manual").seen("it exits"),
    )?;
    graph.depend(
        "conference-bridge",
        "sprout",
        Link::new(Need::Soft, Need::Hard).evidence("the bridge's manual").seen("no call reaches it"),
    )?;

    let plan = graph.plan(Policy::Dependency)?;
    let mut text = String::new();
    for (n, wave) in plan.waves().enumerate() {
        writeln!(text, "wave {}: {}", n + 1, wave.join(", "))?;
    }
    // The slowest start known of each component; the two newcomers' are measured by whoever runs them.
    let duration = |name: &str| {
        let known = graph.component(name).and_then(|c| entry(Release::Hunter, c));
        Duration::from_secs(known.map_or(15, |e| u64::from(e.slowest_start_seconds)))
    };
    writeln!(text, "critical path: {}", plan.critical_path(duration))?;

    // What an executor does: start what is ready, say what is done, go on.
    let mut schedule = plan.schedule();
    let mut ready = schedule.ready();
    while !ready.is_empty() {
        let next: Vec<_> = ready.iter().flat_map(|node| schedule.complete(node)).collect();
        ready = next;
    }
    writeln!(text, "all started: {}", schedule.is_finished())?;
    Ok(text)
}

#[allow(dead_code, clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", start_plan()?);
    Ok(())
}
