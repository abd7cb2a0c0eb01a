//! A drawing of where the time of a run went, from its events alone.

use clearwater::event::{Durations, Event, EventKind};
use clearwater::svg::{self, Element, Picture};

use crate::duration::time;

const LEFT: u64 = 130;
const WIDTH: u64 = 820;
const ROW: u64 = 24;
const TOP: u64 = 40;

/// Draws a run as SVG: a row a component, a bar a phase.
pub(crate) fn draw(events: &[Event]) -> String {
    let mut rows: Vec<(&str, &Durations)> = Vec::new();
    for event in events {
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
    let phases = [
        ("#d9d9d9", "waiting"),
        ("#9e9ac8", "applying"),
        ("#6baed6", "pulling"),
        ("#fdae6b", "starting"),
        ("#74c476", "settling"),
    ];
    for (i, (colour, name)) in (0u64..).zip(phases) {
        let at = LEFT + i * 110;
        svg.line([svg::rect(at, 10, 12, 12).set("fill", colour), svg::text(at + 18, 20, name)]);
    }
    for (i, (name, d)) in (0u64..).zip(&rows) {
        let y = TOP + i * ROW;
        svg.line([svg::text(LEFT - 8, y + 15, name).set("text-anchor", "end")]);
        let mut at = 0;
        for ((colour, phase), ms) in
            phases.iter().zip([d.waiting, d.applying, d.pulling, d.starting, d.settling]).filter(|(_, ms)| *ms > 0)
        {
            let bar = svg::rect(x(at), y, (x(at + ms) - x(at)).max(1), ROW - 6).set("fill", colour);
            svg.line([bar.with(&svg::title(&format!("{name} {phase} {ms} ms")))]);
            at += ms;
        }
        svg.line([svg::text(x(at) + 6, y + 15, &time(d.total()))]);
    }
    svg.finish()
}
