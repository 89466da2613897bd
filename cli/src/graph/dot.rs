//! The picture for Graphviz: a cluster a network, and the host beside them.

use std::fmt::Write as _;

use super::picture::{Lane, Picture};

pub(super) fn draw(picture: &Picture) -> String {
    let mut text = String::from(
        "digraph cleat {\n  rankdir=LR\n  fontname=\"sans-serif\"\n  node [shape=box, style=rounded, fontname=\"sans-serif\"]\n  \
         edge [fontname=\"sans-serif\", fontsize=10]\n  host [label=\"host\", style=bold]\n",
    );
    for (index, lane) in picture.lanes.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = draw_lane(lane, index, &mut text);
    }
    text.push_str("}\n");
    text
}

fn draw_lane(lane: &Lane, index: usize, text: &mut String) -> std::fmt::Result {
    writeln!(text, "  subgraph cluster_{index} {{\n    label={}", quoted(&lane.title("  ")))?;
    let bridge = lane.bridge.as_deref().unwrap_or("no bridge");
    writeln!(text, "    n{index} [label={}, shape=ellipse]", quoted(bridge))?;
    for (place, card) in lane.cards.iter().enumerate() {
        let style = if card.gone { ", style=\"rounded,dashed\"" } else { "" };
        writeln!(text, "    n{index}c{place} [label={}{style}]", quoted(&card.label()))?;
    }
    writeln!(text, "  }}\n  host -> n{index} [dir=none]")?;
    for (place, card) in lane.cards.iter().enumerate() {
        writeln!(text, "  n{index} -> n{index}c{place} [dir=none, label={}]", quoted(&card.ifname))?;
        for port in &card.ports {
            let shown = quoted(&port.to_string());
            writeln!(text, "  host -> n{index}c{place} [label={shown}, color=\"#0e7490\", penwidth=1.5]")?;
        }
        for link in &card.links {
            let (source, alias) = (link.source, quoted(&link.alias));
            write!(text, "  n{index}c{place} -> n{index}c{source} ")?;
            writeln!(text, "[label={alias}, style=dashed, constraint=false]")?;
        }
    }
    Ok(())
}

/// A string of the language, in which a line feed is written as such.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
