//! Shapes and text as SVG elements.

use std::fmt::Write as _;

/// What does not depend on the background. Some viewers know no variables of CSS, so colours are written out.
const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\
.mono{font:12px ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace}\
.name{font-weight:600;font-size:14px}.bar-name{font-weight:600;font-size:12px}\
.port-name,.link-name{font-weight:600}.halo{stroke-width:4;stroke-linejoin:round;paint-order:stroke}.gone{opacity:.55;stroke-dasharray:4 3}\
.wire,.port,.link,.tag{fill:none}.wire,.port{stroke-width:2}.link{stroke-width:1.75;stroke-dasharray:5 3}";

/// What is coloured how: selector, property, the colour on a light background, that on a dark one.
const COLOURS: [(&str, &str, &str, &str); 15] = [
    ("text", "fill", "#1b2733", "#e6edf3"),
    (".faint", "fill", "#5b6b7b", "#9fb0c0"),
    (".page", "fill", "#f6f8fa", "#10161d"),
    (".lane", "fill", "#ffffff", "#161d26"),
    (".card", "fill", "#f3f6f9", "#1f2933"),
    (".host", "fill", "#e8edf3", "#1f2933"),
    (".lane,.card,.host", "stroke", "#c5ced8", "#38444f"),
    (".bar", "fill", "#33506e", "#7fa6cf"),
    (".bar-name", "fill", "#ffffff", "#10161d"),
    (".wire", "stroke", "#8a9bad", "#62748a"),
    (".port", "stroke", "#0b7285", "#3fc1d6"),
    (".port-name,.port-head", "fill", "#0b7285", "#3fc1d6"),
    (".halo", "stroke", "#ffffff", "#161d26"),
    (".link,.tag", "stroke", "#b3541e", "#f2a071"),
    (".link-name,.link-head", "fill", "#b3541e", "#f2a071"),
];

/// The colours as CSS, for one kind of background.
fn colours(dark: bool) -> String {
    let rule = |(selector, property, on_light, on_dark): (&str, &str, &str, &str)| {
        format!("{selector}{{{property}:{}}}", if dark { on_dark } else { on_light })
    };
    COLOURS.into_iter().map(rule).collect()
}

/// A drawing that is being made.
pub(super) struct Canvas {
    text: String,
}

/// About how wide a text is. Which font a viewer has is not known; this is on the wide side.
pub(super) fn width(text: &str) -> i32 {
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX / 16).saturating_mul(8)
}

/// The same for the heavier and larger letters of a name.
pub(super) fn bold_width(text: &str) -> i32 {
    width(text) / 8 * 10
}

/// A text, cut to a number of characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

impl Canvas {
    pub(super) fn new(width: i32, height: i32) -> Self {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-label=\"networks, containers, published ports and links\">\n\
             <style>{STYLE}{}@media (prefers-color-scheme:dark){{{}}}</style>\n<defs>{}{}</defs>\n\
             <rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>\n",
            colours(false),
            colours(true),
            head("port"),
            head("link"),
        );
        Self { text }
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(element);
        self.text.push('\n');
    }

    /// A rectangle with round corners.
    pub(super) fn rect(&mut self, class: &str, x: i32, y: i32, width: i32, height: i32) {
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>"
        ));
    }

    fn label(&mut self, class: &str, x: i32, y: i32, attributes: &str, text: &str) {
        let text = escape(text);
        self.put(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\"{attributes}>{text}</text>"));
    }

    /// Writes a text and returns about where it ends.
    pub(super) fn text(&mut self, class: &str, x: i32, y: i32, text: &str) -> i32 {
        self.label(class, x, y, "", text);
        x + if class == "name" { bold_width(text) } else { width(text) }
    }

    /// Writes a text that ends at `x`.
    pub(super) fn text_to(&mut self, class: &str, x: i32, y: i32, text: &str) {
        self.label(class, x, y, " text-anchor=\"end\"", text);
    }

    /// Writes a text upwards, with its middle at `y`.
    pub(super) fn vertical(&mut self, class: &str, x: i32, y: i32, text: &str) {
        let turned = format!(" text-anchor=\"middle\" transform=\"rotate(-90 {x} {y})\"");
        self.label(class, x, y, &turned, text);
    }

    /// A text in a frame; returns where the frame ends.
    pub(super) fn tag(&mut self, x: i32, y: i32, text: &str) -> i32 {
        let inner = width(text);
        self.rect("tag", x, y, inner + 16, 22);
        self.label("link-name", x + inner / 2 + 8, y + 16, " text-anchor=\"middle\"", text);
        x + inner + 16
    }

    pub(super) fn line(&mut self, class: &str, (x, y): (i32, i32), (to_x, to_y): (i32, i32)) {
        self.put(format_args!("<path class=\"{class}\" d=\"M{x} {y}L{to_x} {to_y}\"/>"));
    }

    pub(super) fn arrow(&mut self, class: &str, (x, y): (i32, i32), (to_x, to_y): (i32, i32)) {
        self.put(format_args!(
            "<path class=\"{class}\" d=\"M{x} {y}L{to_x} {to_y}\" marker-end=\"url(#{class})\"/>"
        ));
    }

    /// An arrow that leaves the edge at `x`, runs down or up at `out` and comes back to the edge.
    pub(super) fn arc(&mut self, class: &str, x: i32, (y, to_y): (i32, i32), out: i32) {
        let (turn, step) = (out - 10, if to_y > y { 10 } else { -10 });
        let (after, before) = (y + step, to_y - step);
        self.put(format_args!(
            "<path class=\"{class}\" d=\"M{x} {y}H{turn}Q{out} {y} {out} {after}V{before}Q{out} {to_y} {turn} {to_y}H{x}\" \
             marker-end=\"url(#{class})\"/>"
        ));
    }
}

/// The head of an arrow.
fn head(class: &str) -> String {
    format!(
        "<marker id=\"{class}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"8\" markerHeight=\"8\" \
         markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"{class}-head\" d=\"M0 0L10 5L0 10z\"/></marker>"
    )
}

/// Text as XML has it. Characters that XML cannot have at all are left out.
fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            control if control.is_control() => {}
            other => shown.push(other),
        }
    }
    shown
}
