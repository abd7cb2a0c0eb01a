//! A drawing of where the time of a run went, from its events alone.

use clearwater::event::{Durations, Event, EventKind, Hop};
use clearwater::svg::{self, Element, Picture};

use crate::duration::time;

const LEFT: u64 = 130;
const WIDTH: u64 = 820;
const ROW: u64 = 24;
const TOP: u64 = 40;

/// The phases of a component, one after another, and their colours; *made* and *held* are what is done before its gates open.
const PHASES: [(&str, &str); 6] = [
    ("#e5e5e5", "waiting"),
    ("#9e9ac8", "making"),
    ("#6baed6", "pulling"),
    ("#fdd0a2", "held"),
    ("#fd8d3c", "starting"),
    ("#74c476", "settling"),
];

/// What a component went through, as places in [`PHASES`] and milliseconds.
fn spans(d: &Durations) -> [(usize, u64); 8] {
    let early = d.early;
    [
        (0, d.idle()),
        (1, early.making),
        (2, early.pulling),
        (3, early.held),
        (1, d.applying),
        (2, d.pulling),
        (4, d.starting),
        (5, d.settling),
    ]
}

/// Draws a run as SVG: a row a component, a bar a phase. Components of the critical path are bold and underlined.
pub(crate) fn draw(events: &[Event]) -> String {
    let mut rows: Vec<(&str, &Durations)> = Vec::new();
    let mut critical: &[Hop] = &[];
    for event in events {
        if let EventKind::RunFinished { critical_path, .. } = &event.what {
            critical = critical_path;
        }
        if let EventKind::Serving { component, durations, .. } = &event.what
            && !rows.iter().any(|(name, _)| name == component)
        {
            rows.push((component, durations));
        }
    }
    rows.sort_by_key(|(_, d)| (d.waiting, d.total()));
    let whole = rows.iter().map(|(_, d)| d.total()).max().unwrap_or(0).max(1);
    let x = |ms: u64| LEFT + ms * WIDTH / whole;
    let height = TOP + ROW * rows.len() as u64 + 40;
    let root = Element::new("svg").set("width", LEFT + WIDTH + 90).set("height", height);
    let mut svg = Picture::new(root.set("font-family", "sans-serif").set("font-size", 12));
    svg.line([svg::title("kubectl clearwater up: where the time went")]);
    svg.line([Element::new("rect").set("width", "100%").set("height", "100%").set("fill", "#ffffff")]);
    for (i, (colour, name)) in (0u64..).zip(PHASES) {
        let at = LEFT + i * 110;
        svg.line([svg::rect(at, 10, 12, 12).set("fill", colour), svg::text(at + 18, 20, name)]);
    }
    for (i, (name, d)) in (0u64..).zip(&rows) {
        let y = TOP + i * ROW;
        let is_critical = critical.iter().any(|hop| hop.component == *name);
        let label = svg::text(LEFT - 8, y + 15, name).set("text-anchor", "end");
        svg.line([if is_critical { label.set("font-weight", "bold") } else { label }]);
        let mut at = 0;
        for (phase, ms) in spans(d).into_iter().filter(|(_, ms)| *ms > 0) {
            let (colour, phase) = PHASES[phase];
            let bar = svg::rect(x(at), y, (x(at + ms) - x(at)).max(1), ROW - 6).set("fill", colour);
            svg.line([bar.with(&svg::title(&format!("{name} {phase} {ms} ms")))]);
            at += ms;
        }
        if is_critical {
            let own = x(d.waiting)..x(d.total());
            svg.line([svg::rect(own.start, y + ROW - 5, (own.end - own.start).max(1), 3).set("fill", "#cb181d")]);
        }
        svg.line([svg::text(x(at) + 6, y + 15, &time(d.total()))]);
    }
    if !critical.is_empty() {
        let hops: Vec<&str> = critical.iter().map(|hop| hop.component.as_str()).collect();
        let y = TOP + ROW * rows.len() as u64 + 20;
        svg.line([svg::rect(LEFT, y - 5, 12, 3).set("fill", "#cb181d")]);
        svg.line([svg::text(LEFT + 18, y, &format!("critical path: {}", hops.join(" → ")))]);
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearwater::event::Early;

    #[test]
    fn all_of_a_components_time_is_drawn() {
        let early = Early { making: 2, pulling: 30, held: 400 };
        let d = Durations { waiting: 1432, early, applying: 5, pulling: 60, starting: 700, settling: 8000 };
        assert_eq!(spans(&d).map(|(_, ms)| ms), [1000, 2, 30, 400, 5, 60, 700, 8000]);
        assert_eq!(spans(&d).iter().map(|(_, ms)| ms).sum::<u64>(), d.total());
    }
}
