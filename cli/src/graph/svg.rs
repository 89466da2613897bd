//! The picture as a drawing: the host at the left with its published ports on its edge, a lane a network, a card a
//! container, links as arcs at the right.
//!
//! Every text is on a filled shape of its own, so that the drawing is readable on any background; where the viewer
//! prefers dark colours it has them.

mod arrange;
mod canvas;

use arrange::{Arrangement, BAR, CARD, HOST, MARGIN, PortRow, Spot};
use canvas::Canvas;

use super::picture::Picture;

/// How far below a card's top its wire is.
const WIRE: i32 = 20;

/// Draws it.
pub(super) fn draw(picture: &Picture) -> String {
    let arranged = Arrangement::of(picture);
    let mut canvas = Canvas::new(arranged.width, arranged.height);
    host(&arranged, &mut canvas);
    for (lane, spot) in picture.lanes.iter().zip(&arranged.lanes) {
        canvas.rect("lane", spot.x, spot.y, spot.width, spot.height);
        let heading = canvas.text("name", spot.x + 16, spot.y + 24, &lane.name);
        let after = canvas.text("mono faint", heading + 14, spot.y + 24, &lane.subnets.join("  "));
        let mut x = after + 14;
        for tag in &lane.tags {
            x = canvas.tag(x, spot.y + 9, tag) + 8;
        }
        wires(spot, &mut canvas);
        if let Some(bridge) = &lane.bridge {
            let bar = spot.bar();
            canvas.rect("bar", bar.0, bar.1, BAR, bar.2);
            canvas.vertical("bar-name", bar.0 + BAR / 2 + 4, bar.1 + bar.2 / 2, bridge);
        }
        if lane.cards.is_empty() {
            canvas.text("faint", spot.cards_x(), spot.y + 66, "no containers");
        }
        for (card, place) in lane.cards.iter().zip(&spot.cards) {
            let class = if card.gone { "card gone" } else { "card" };
            let (x, y) = (spot.cards_x(), place.y);
            canvas.rect(class, x, y, CARD, place.height);
            canvas.text("name", x + 16, y + 24, &canvas::cut(&card.name, 20));
            let corner = if card.gone { "gone" } else { &card.short_id };
            canvas.text_to("mono faint", x + CARD - 14, y + 24, corner);
            let mut line = y + 46;
            for (index, address) in card.addresses.iter().enumerate() {
                let ifname = if index == 0 { card.ifname.as_str() } else { "" };
                canvas.text("mono faint", x + 16, line, ifname);
                canvas.text("mono", x + 76, line, address);
                line += arrange::LINE;
            }
            for row in &place.ports {
                canvas.text("mono port-name", x + 16, row.y + 4, &row.port.inner);
            }
            if let Some(notes) = card.notes() {
                let line = place.ports.last().map_or(line, |row| row.y + 4 + arrange::LINE);
                canvas.text("faint", x + 16, line, &canvas::cut(&notes, 42));
            }
        }
        links(spot, &mut canvas);
    }
    canvas.finish()
}

/// The host, and where its ports leave it.
fn host(arranged: &Arrangement<'_>, canvas: &mut Canvas) {
    canvas.rect("host", MARGIN, MARGIN, HOST, arranged.height - 2 * MARGIN);
    canvas.text("name", MARGIN + 16, MARGIN + 24, "host");
    for spot in &arranged.lanes {
        for row in spot.cards.iter().flat_map(|card| &card.ports) {
            canvas.text_to("mono port-name", MARGIN + HOST - 14, row.y + 4, &canvas::cut(&row.port.host, 17));
        }
    }
}

/// What goes from the host into a lane: its gateway's wire, the veth pairs, and published ports to their cards.
fn wires(spot: &Spot<'_>, canvas: &mut Canvas) {
    let (bar_x, bar_y, _) = spot.bar();
    let from = MARGIN + HOST;
    let hub = bar_y + WIRE;
    canvas.line("wire", (from, hub), (bar_x, hub));
    for card in &spot.cards {
        let y = card.y + WIRE;
        canvas.line("wire", (bar_x + BAR, y), (spot.cards_x(), y));
        for PortRow { y, .. } in &card.ports {
            canvas.arrow("port", (from, *y), (spot.cards_x(), *y));
        }
    }
}

/// Links, from a card's right edge to that of its source.
fn links(spot: &Spot<'_>, canvas: &mut Canvas) {
    let edge = spot.cards_x() + CARD;
    for link in &spot.links {
        canvas.arc("link", edge, (link.start, link.end), link.out);
    }
    // Names are drawn last, on top of all lines.
    for link in &spot.links {
        canvas.text("mono link-name halo", link.out + 6, i32::midpoint(link.start, link.end) + 4, link.alias);
    }
}
