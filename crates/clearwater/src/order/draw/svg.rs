//! A layered drawing, laid out by hand: a column for each wave, long edges led through free places of the columns
//! between, and the places in a column swapped until edges cross little (the barycentre method of Sugiyama, Tagawa and
//! Toda, 1981). Whole numbers only, so that every machine draws the same picture.

use std::fmt::Write as _;

use super::{Picture, Printable};
use crate::svg::{self, Element};

const MARGIN: i64 = 16;
const HEADING: i64 = 24;
const BOX_HEIGHT: i64 = 36;
const GAP: i64 = 18;
const BEND_HEIGHT: i64 = 6;
const COLUMN_GAP: i64 = 72;
const LEGEND: i64 = 34;
const SWEEPS: usize = 8;

const STYLE: &str = "\
text{font:14px system-ui,sans-serif;fill:#1f2328}\
.h{font-size:12px;fill:#59636e}\
rect{fill:#fff;stroke:#59636e;stroke-width:1.2}\
path{fill:none;stroke:#59636e;stroke-width:1.4}\
.l{stroke:#818b98;stroke-width:1;stroke-dasharray:4 4}\
marker path{fill:#59636e;stroke:none}\
@media(prefers-color-scheme:dark){\
text{fill:#f0f6fc}.h{fill:#9198a1}\
rect{fill:#151b23;stroke:#9198a1}\
path{stroke:#9198a1}.l{stroke:#656c76}\
marker path{fill:#9198a1;stroke:none}}";

/// A place in a column: a node's box, or a bend of an edge that passes by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Node(u32),
    Bend,
}

struct Layout {
    columns: Vec<Vec<usize>>,
    places: Vec<Place>,
    /// Neighbours in the column before and in the column after.
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
    /// For each gating pair the places it passes, its own ends included.
    routes: Vec<((u32, u32), Vec<usize>)>,
}

impl Layout {
    fn new(picture: &Picture<'_>) -> Self {
        let mut layout =
            Self { columns: Vec::new(), places: Vec::new(), before: vec![], after: vec![], routes: vec![] };
        for node in picture.nodes() {
            layout.place(picture.wave(node), Place::Node(node));
        }
        for &(to, from) in picture.gating.keys() {
            let mut route = vec![to as usize];
            for wave in picture.wave(to) + 1..picture.wave(from) {
                route.push(layout.place(wave, Place::Bend));
            }
            route.push(from as usize);
            for pair in route.windows(2) {
                layout.after[pair[0]].push(pair[1]);
                layout.before[pair[1]].push(pair[0]);
            }
            layout.routes.push(((to, from), route));
        }
        for sweep in 0..SWEEPS {
            layout.sweep(sweep % 2 == 0);
        }
        layout
    }

    fn place(&mut self, column: usize, place: Place) -> usize {
        let at = self.places.len();
        self.places.push(place);
        self.before.push(Vec::new());
        self.after.push(Vec::new());
        if self.columns.len() <= column {
            self.columns.resize(column + 1, Vec::new());
        }
        self.columns[column].push(at);
        at
    }

    /// Puts each place at the mean of its neighbours in the column that was visited before.
    fn sweep(&mut self, forwards: bool) {
        let columns = self.columns.len();
        for step in 1..columns {
            let (fixed, column) = if forwards { (step - 1, step) } else { (columns - step, columns - step - 1) };
            let mut position = vec![0_usize; self.places.len()];
            for (i, &p) in self.columns[fixed].iter().enumerate() {
                position[p] = i;
            }
            // Compared on one scale: where in the column, in millionths of it.
            let height = self.columns[fixed].len().max(1);
            let own_height = self.columns[column].len().max(1);
            let neighbours = if forwards { &self.before } else { &self.after };
            let mut keyed: Vec<(usize, usize)> = Vec::new();
            for (i, &p) in self.columns[column].iter().enumerate() {
                let all: Vec<_> = neighbours[p].iter().filter(|n| self.columns[fixed].contains(n)).collect();
                let key = if all.is_empty() {
                    (2 * i + 1) * 500_000 / own_height
                } else {
                    let sum: usize = all.iter().map(|&&n| (2 * position[n] + 1) * 500_000 / height).sum();
                    sum / all.len()
                };
                keyed.push((key, p));
            }
            keyed.sort_by_key(|&(key, _)| key);
            self.columns[column] = keyed.into_iter().map(|(_, p)| p).collect();
        }
    }

    fn height(&self, place: usize) -> i64 {
        if self.places[place] == Place::Bend { BEND_HEIGHT } else { BOX_HEIGHT }
    }
}

fn int(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn draw(picture: &Picture<'_>) -> String {
    let layout = Layout::new(picture);
    let longest = picture.nodes().map(|n| picture.name(n).chars().count()).max().unwrap_or(0);
    let box_width = 28 + 8 * int(longest);
    let pitch = box_width + COLUMN_GAP;
    let column_height = |c: &Vec<usize>| c.iter().map(|&p| layout.height(p) + GAP).sum::<i64>() - GAP;
    let tallest = layout.columns.iter().map(column_height).max().unwrap_or(0).max(0);
    let mut at = vec![(0_i64, 0_i64); layout.places.len()];
    for (i, column) in layout.columns.iter().enumerate() {
        let mut y = MARGIN + HEADING + (tallest - column_height(column)) / 2;
        for &p in column {
            at[p] = (MARGIN + int(i) * pitch, y + layout.height(p) / 2);
            y += layout.height(p) + GAP;
        }
    }
    let columns = int(layout.columns.len().max(1));
    let legend_width = if picture.loose.is_empty() { 300 } else { 560 };
    let width = (2 * MARGIN + columns * pitch - COLUMN_GAP).max(legend_width);
    // Room below for dashed edges that lead back or stay within a wave.
    let below = if picture.loose.is_empty() { 0 } else { 24 };
    let height = 2 * MARGIN + HEADING + tallest + below + LEGEND;

    let root = Element::new("svg").set("width", width).set("height", height);
    let mut out = svg::Picture::new(root.set("viewBox", format_args!("0 0 {width} {height}")).set("role", "img"));
    out.line([svg::title(&format!("Start order, policy {}", picture.policy))]);
    out.line([Element::new("style").text(STYLE)]);
    out.line([svg::arrow_head()]);
    for i in 0..layout.columns.len() {
        let x = MARGIN + int(i) * pitch + box_width / 2;
        out.line([heading(x, MARGIN + 8, &i.to_string()).set("text-anchor", "middle")]);
    }
    for (&(to, from), says) in &picture.loose {
        let path = loose_path(at[to as usize], at[from as usize], box_width);
        out.line([edge(Element::new("path").set("class", "l"), &path, says)]);
    }
    for ((to, from), route) in &layout.routes {
        let says = picture.gating.get(&(*to, *from)).map_or(&[][..], Vec::as_slice);
        out.line([edge(Element::new("path"), &route_path(route, &at, box_width), says)]);
    }
    for node in picture.nodes() {
        let (x, y) = at[node as usize];
        let frame = svg::rect(x, y - BOX_HEIGHT / 2, box_width, BOX_HEIGHT).set("rx", 6);
        let name = svg::text(x + box_width / 2, y + 5, picture.name(node)).set("text-anchor", "middle");
        out.line([frame, name]);
    }
    legend(&mut out, height - MARGIN, !picture.loose.is_empty(), picture.policy.name());
    out.finish()
}

fn heading(x: i64, y: i64, words: &str) -> Element {
    Element::new("text").set("class", "h").set("x", x).set("y", y).text(words)
}

fn arrow(path: Element, d: &str) -> Element {
    path.set("d", d).set("marker-end", svg::ARROW)
}

fn edge(path: Element, d: &str, says: &[Printable]) -> Element {
    arrow(path, d).with(&svg::title(&says.join(" ")))
}

/// From the right side of the first box, level through each bend's column, to the left side of the last.
fn route_path(route: &[usize], at: &[(i64, i64)], box_width: i64) -> String {
    let mut path = String::new();
    for (i, &place) in route.iter().enumerate() {
        let (x, y) = at[place];
        if i == 0 {
            let _ = write!(path, "M{} {y}", x + box_width);
            continue;
        }
        let (before_x, before_y) = at[route[i - 1]];
        let middle = before_x + box_width + COLUMN_GAP / 2;
        let _ = write!(path, "C{middle} {before_y} {middle} {y} {x} {y}");
        if i + 1 < route.len() {
            let _ = write!(path, "H{}", x + box_width);
        }
    }
    path
}

/// Beneath the boxes: straight across where it leads on, around below where it leads back or stays in its column.
fn loose_path((to_x, to_y): (i64, i64), (from_x, from_y): (i64, i64), box_width: i64) -> String {
    if to_x < from_x {
        let (start, half) = (to_x + box_width, (from_x - to_x - box_width) / 2);
        return format!("M{start} {to_y}C{} {to_y} {} {from_y} {from_x} {from_y}", start + half, from_x - half);
    }
    let (start_x, end_x) = (to_x + box_width / 2, from_x + box_width / 2);
    let (start_y, end_y) = (to_y + BOX_HEIGHT / 2, from_y + BOX_HEIGHT / 2);
    let bottom = start_y.max(end_y) + 36;
    if to_x == from_x {
        // Within a column, out on its right side.
        let (right, out) = (to_x + box_width, to_x + box_width + COLUMN_GAP / 2);
        return format!("M{right} {to_y}C{out} {to_y} {out} {from_y} {right} {from_y}");
    }
    format!("M{start_x} {start_y}C{start_x} {bottom} {end_x} {bottom} {end_x} {end_y}")
}

fn legend(out: &mut svg::Picture, y: i64, loose: bool, policy: &str) {
    let line = |x: i64| format!("M{x} {}H{}", y - 4, x + 32);
    let x = MARGIN;
    let words = format!("is waited for (policy {policy})");
    out.line([arrow(Element::new("path"), &line(x)), heading(x + 40, y, &words)]);
    if loose {
        let x = x + 320;
        let words = "is needed, not waited for";
        out.line([arrow(Element::new("path").set("class", "l"), &line(x)), heading(x + 40, y, words)]);
    }
}
