//! The picture for Mermaid: a subgraph a network, and the host beside them.

use std::fmt::Write as _;

use super::picture::{Lane, Picture};

pub(super) fn draw(picture: &Picture) -> String {
    let mut text = String::from("flowchart LR\n  host([\"host\"])\n");
    for (index, lane) in picture.lanes.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = draw_lane(lane, index, &mut text);
    }
    text
}

fn draw_lane(lane: &Lane, index: usize, text: &mut String) -> std::fmt::Result {
    writeln!(text, "  subgraph net{index}[{}]", quoted(&lane.title(" · ")))?;
    writeln!(text, "    n{index}{{{{{}}}}}", quoted(lane.bridge.as_deref().unwrap_or("no bridge")))?;
    for (place, card) in lane.cards.iter().enumerate() {
        writeln!(text, "    n{index}c{place}[{}]", quoted(&card.label()))?;
    }
    writeln!(text, "  end\n  host --- n{index}")?;
    for (place, card) in lane.cards.iter().enumerate() {
        writeln!(text, "  n{index} ---|{}| n{index}c{place}", quoted(&card.ifname))?;
        for port in &card.ports {
            writeln!(text, "  host ==>|{}| n{index}c{place}", quoted(&port.to_string()))?;
        }
        for link in &card.links {
            writeln!(text, "  n{index}c{place} -.->|{}| n{index}c{}", quoted(&link.alias), link.source)?;
        }
    }
    Ok(())
}

/// A label. Mermaid reads HTML in it, and `#` before a name as a character reference.
fn quoted(text: &str) -> String {
    let mut shown = String::from('"');
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("<br>"),
            '"' => shown.push_str("#quot;"),
            '#' => shown.push_str("#35;"),
            '<' => shown.push_str("#lt;"),
            '>' => shown.push_str("#gt;"),
            '&' => shown.push_str("#amp;"),
            other => shown.push(other),
        }
    }
    shown + "\""
}
