//! Where on the screen what stands, however small it is.

use ratatui::layout::{Rect, Size};

use super::flow::Flow;
use super::text::worded;

/// From how many columns on a message stands beside the drawing and not below it.
const WIDE: u16 = 100;
/// Below how many lines there is no room for a message.
const LOW: u16 = 8;
/// From how many lines on more than one is left for who broke a call; and the most that are.
const HIGH: u16 = 20;
const MOST_WORDS: u16 = 3;

/// The parts of the screen. One that has no room is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Areas {
    pub(super) title: Rect,
    /// The names of columns.
    pub(super) head: Rect,
    pub(super) body: Rect,
    /// A message beside the body or below it.
    pub(super) panel: Rect,
    /// What is said.
    pub(super) foot: Rect,
    pub(super) keys: Rect,
}

impl Areas {
    pub(super) fn of_list(size: Size) -> Self {
        Self::stacked(size, 1, 1)
    }

    pub(super) fn of_page(size: Size) -> Self {
        Self::stacked(size, 0, 1)
    }

    pub(super) fn of_flow(size: Size, flow: &Flow) -> Self {
        let lines = flow.words().iter().map(|words| worded(words, size.width.into()).len()).sum::<usize>();
        let lines = u16::try_from(lines).unwrap_or(u16::MAX).clamp(1, MOST_WORDS);
        let mut areas = Self::stacked(size, 1, if size.height >= HIGH { lines } else { 1 });
        let (all, share) = (areas.body, flow.share());
        let part = |whole: u16| u16::try_from(u32::from(whole) * u32::from(share) / 100).unwrap_or(whole);
        if share == 0 {
            return areas;
        }
        if all.width >= WIDE {
            // The drawing has what it needs, where that leaves the message a third.
            let needed = u16::try_from(flow.least_width()).unwrap_or(u16::MAX).min(all.width / 3 * 2);
            let width = part(all.width).min(all.width - needed);
            areas.body.width = all.width - width;
            areas.head.width = areas.body.width;
            areas.panel = Rect { x: all.x + areas.body.width, width, ..all };
            // It begins where the names do.
            areas.panel.y = areas.head.y;
            areas.panel.height = areas.head.height + all.height;
        } else if all.height >= LOW {
            let height = part(all.height);
            areas.body.height = all.height - height;
            areas.panel = Rect { y: all.y + areas.body.height, height, ..all };
        }
        areas
    }

    /// From above: a title, names of columns, the body, what is said, keys. In few lines the body goes before all others.
    fn stacked(size: Size, head: u16, foot: u16) -> Self {
        let Size { width, height } = size;
        let mut left = height;
        // What stands later in the row of needs has nothing where others took it.
        let mut take = |wanted: u16, least: u16| {
            let taken = if left >= wanted + least { wanted } else { 0 };
            left -= taken;
            taken
        };
        let title = take(1, 1);
        let foot = take(foot, 1);
        let keys = take(1, 1);
        let head = take(head, 1);
        let body = left;
        let mut y = 0;
        let mut next = |height: u16| {
            let area = Rect { x: 0, y, width, height };
            y += height;
            area
        };
        Self {
            title: next(title),
            head: next(head),
            body: next(body),
            panel: Rect::default(),
            foot: next(foot),
            keys: next(keys),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_last_that_goes() {
        let heights = |height| {
            let areas = Areas::of_list(Size::new(80, height));
            [areas.title, areas.head, areas.body, areas.foot, areas.keys].map(|area| area.height)
        };
        assert_eq!(heights(24), [1, 1, 20, 1, 1]);
        assert_eq!(heights(5), [1, 1, 1, 1, 1]);
        assert_eq!(heights(4), [1, 0, 1, 1, 1]);
        assert_eq!(heights(2), [1, 0, 1, 0, 0]);
        assert_eq!(heights(1), [0, 0, 1, 0, 0]);
        assert_eq!(heights(0), [0, 0, 0, 0, 0]);
    }
}
