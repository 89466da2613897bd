//! The positions of everything, in pixels from the top left corner. Pure.

use super::super::picture::{Lane, Picture, Port};
use super::canvas;

/// Around the drawing, and between lanes.
pub(super) const MARGIN: i32 = 20;
/// The host's width; it is as high as all lanes.
pub(super) const HOST: i32 = 150;
/// The width of a bridge.
pub(super) const BAR: i32 = 24;
/// The width of a card.
pub(super) const CARD: i32 = 300;
/// The height of a line of text.
pub(super) const LINE: i32 = 20;
/// From the host to the lanes, where the ports' arrows are seen.
const GAP: i32 = 56;
/// A lane's heading.
const HEADING: i32 = 42;
/// Between cards.
const CARD_GAP: i32 = 14;

/// All places.
pub(super) struct Arrangement<'a> {
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) lanes: Vec<Spot<'a>>,
}

/// The place of a lane.
pub(super) struct Spot<'a> {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) cards: Vec<CardSpot<'a>>,
    pub(super) links: Vec<LinkSpot<'a>>,
}

/// Where a link runs, beside the cards.
pub(super) struct LinkSpot<'a> {
    /// Where it leaves its card.
    pub(super) start: i32,
    /// Where it comes to its source.
    pub(super) end: i32,
    /// Where it runs, at the right of the cards.
    pub(super) out: i32,
    pub(super) alias: &'a str,
}

/// The place of a card.
pub(super) struct CardSpot<'a> {
    pub(super) y: i32,
    pub(super) height: i32,
    pub(super) ports: Vec<PortRow<'a>>,
}

/// The height at which a published port goes from the host to its card.
pub(super) struct PortRow<'a> {
    pub(super) y: i32,
    pub(super) port: &'a Port,
}

impl<'a> Arrangement<'a> {
    pub(super) fn of(picture: &'a Picture) -> Self {
        let x = MARGIN + HOST + GAP;
        let width = picture.lanes.iter().map(lane_width).max().unwrap_or(CARD);
        let mut y = MARGIN;
        let mut lanes = Vec::with_capacity(picture.lanes.len());
        for lane in &picture.lanes {
            let spot = Spot::new(lane, (x, y), width);
            y += spot.height + MARGIN;
            lanes.push(spot);
        }
        Self { width: x + width + MARGIN, height: y.max(120), lanes }
    }
}

impl<'a> Spot<'a> {
    fn new(lane: &'a Lane, (x, top): (i32, i32), width: i32) -> Self {
        let mut y = top + HEADING;
        let mut cards = Vec::with_capacity(lane.cards.len());
        for card in &lane.cards {
            let text = 34 + LINE * count(&card.addresses);
            let ports = card.ports.iter().zip(0..);
            let ports = ports.map(|(port, row)| PortRow { y: y + text + LINE * row + 8, port }).collect();
            let height = text + LINE * (count(&card.ports) + i32::from(card.notes().is_some())) + 8;
            cards.push(CardSpot { y, height, ports });
            y += height + CARD_GAP;
        }
        // The bridge's name runs along the bar.
        let name = lane.bridge.as_deref().map_or(0, canvas::width);
        let bottom = (if cards.is_empty() { y + 40 } else { y }).max(top + HEADING + name + 30);
        let links = links(lane, &cards, cards_x(x) + CARD);
        Self { x, y: top, width, height: bottom + 2 - top, cards, links }
    }

    /// The bridge's left, top and height.
    pub(super) fn bar(&self) -> (i32, i32, i32) {
        (self.x + 16, self.y + HEADING, self.height - HEADING - 16)
    }

    /// The left edge of the cards.
    pub(super) fn cards_x(&self) -> i32 {
        cards_x(self.x)
    }
}

fn cards_x(lane: i32) -> i32 {
    lane + 16 + BAR + 40
}

/// The links of a lane, the shortest next to the cards, so that few cross.
fn links<'a>(lane: &'a Lane, cards: &[CardSpot<'_>], edge: i32) -> Vec<LinkSpot<'a>> {
    let mut links = Vec::new();
    let mut arrived = vec![0; cards.len()];
    for (card, from) in lane.cards.iter().zip(cards) {
        for (link, departed) in card.links.iter().zip(0..) {
            let (Some(to), Some(arrived)) = (cards.get(link.source), arrived.get_mut(link.source)) else {
                continue;
            };
            // Links go out above those that come in, and none on top of another while there is room.
            let start = from.y + 14 + 8 * i32::min(departed, 3);
            let end = to.y + to.height - 14 - 8 * i32::min(*arrived, 3);
            *arrived += 1;
            links.push(LinkSpot { start, end, out: edge, alias: &link.alias });
        }
    }
    links.sort_by_key(|link| (link.end - link.start).abs());
    let mut out = edge + 26;
    for link in &mut links {
        link.out = out;
        out += link_width(link.alias);
    }
    links
}

/// The width that a link takes with its name.
fn link_width(alias: &str) -> i32 {
    (canvas::width(alias) + 18).max(30)
}

/// As wide as its cards with the links beside them, and as its heading.
fn lane_width(lane: &Lane) -> i32 {
    let links = lane.cards.iter().flat_map(|card| &card.links);
    let links: i32 = links.map(|link| link_width(&link.alias)).sum();
    let cards = cards_x(0) + CARD + if links > 0 { 26 + links } else { 0 } + 16;
    let tags: i32 = lane.tags.iter().map(|tag| canvas::width(tag) + 24).sum();
    let heading = 44 + canvas::bold_width(&lane.name) + canvas::width(&lane.subnets.join("  ")) + 14 + tags;
    cards.max(heading)
}

fn count<T>(items: &[T]) -> i32 {
    i32::try_from(items.len()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::example;
    use super::*;

    #[test]
    fn nothing_stands_on_anything_else() {
        let picture = example();
        let arranged = Arrangement::of(&picture);
        let mut lane_end = 0;
        for spot in &arranged.lanes {
            assert!(spot.y >= lane_end);
            lane_end = spot.y + spot.height;
            let mut card_end = spot.y + HEADING;
            for card in &spot.cards {
                assert!(card.y >= card_end);
                card_end = card.y + card.height;
                assert!(card.ports.iter().all(|row| card.y < row.y && row.y < card_end));
            }
            assert!(card_end < lane_end && spot.cards_x() + CARD < spot.x + spot.width);
            assert!(spot.x + spot.width < arranged.width);
            for link in &spot.links {
                assert!(
                    spot.cards_x() + CARD < link.out
                        && link.out + canvas::width(link.alias) < spot.x + spot.width
                );
                assert!(
                    spot.cards.iter().any(|card| card.y < link.start && link.start < card.y + card.height)
                );
                assert!(spot.cards.iter().any(|card| card.y < link.end && link.end < card.y + card.height));
            }
        }
        assert!(lane_end < arranged.height);
    }
}
