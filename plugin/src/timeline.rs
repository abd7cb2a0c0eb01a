//! A drawing of where the time of a run went, from its events alone.

use std::fmt::Write;

use clearwater::event::{Durations, Event, What};

const LEFT: u64 = 130;
const WIDTH: u64 = 820;
const ROW: u64 = 24;
const TOP: u64 = 40;

/// Draws a run as SVG: a row a component, a bar a phase.
pub(crate) fn draw(events: &[Event]) -> String {
    let mut rows: Vec<(&str, &Durations)> = Vec::new();
    for event in events {
        if let What::Serving { component, durations, .. } = &event.what
            && !rows.iter().any(|(name, _)| name == component)
        {
            rows.push((component, durations));
        }
    }
    rows.sort_by_key(|(_, d)| (d.waiting, d.total()));
    let whole = rows.iter().map(|(_, d)| d.total()).max().unwrap_or(0).max(1);
    let x = |ms: u64| LEFT + ms * WIDTH / whole;
    let height = TOP + ROW * rows.len() as u64 + 40;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<title>kubectl clearwater up: where the time went</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        LEFT + WIDTH + 90
    );
    let phases = [
        ("#d9d9d9", "waiting"),
        ("#9e9ac8", "applying"),
        ("#6baed6", "pulling"),
        ("#fdae6b", "starting"),
        ("#74c476", "settling"),
    ];
    for (i, (colour, name)) in (0u64..).zip(phases) {
        let at = LEFT + i * 110;
        let _ = writeln!(
            svg,
            "<rect x=\"{at}\" y=\"10\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
            <text x=\"{}\" y=\"20\">{name}</text>",
            at + 18
        );
    }
    for (i, (name, d)) in (0u64..).zip(&rows) {
        let y = TOP + i * ROW;
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>", LEFT - 8, y + 15);
        let mut at = 0;
        for ((colour, phase), ms) in
            phases.iter().zip([d.waiting, d.applying, d.pulling, d.starting, d.settling]).filter(|(_, ms)| *ms > 0)
        {
            let _ = writeln!(
                svg,
                "<rect x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{}\" fill=\"{colour}\"><title>{name} \
                {phase} {ms} ms</title></rect>",
                x(at),
                (x(at + ms) - x(at)).max(1),
                ROW - 6
            );
            at += ms;
        }
        let tenths = d.total() / 100;
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{}.{} s</text>", x(at) + 6, y + 15, tenths / 10, tenths % 10);
    }
    svg.push_str("</svg>\n");
    svg
}
