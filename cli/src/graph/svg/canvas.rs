//! Shapes and text as SVG elements.

use std::fmt::Write as _;

/// What does not depend on the palette. Some viewers know no variables of CSS, so colours are written out.
const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\
.mono{font:12px ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace}\
.name{font-weight:600;font-size:14px}.bar-name{font-weight:600;font-size:12px}\
.port-name,.link-name{font-weight:600}.halo{stroke-width:4;stroke-linejoin:round;paint-order:stroke}.gone{opacity:.55;stroke-dasharray:4 3}\
.wire,.port,.link,.tag{fill:none}.wire,.port{stroke-width:2}.link{stroke-width:1.75;stroke-dasharray:5 3}";

/// Colours of one kind of background.
struct Palette {
    page: &'static str,
    lane: &'static str,
    card: &'static str,
    host: &'static str,
    frame: &'static str,
    text: &'static str,
    faint: &'static str,
    bar: &'static str,
    on_bar: &'static str,
    wire: &'static str,
    port: &'static str,
    link: &'static str,
}

const LIGHT: Palette = Palette {
    page: "#f6f8fa",
    lane: "#ffffff",
    card: "#f3f6f9",
    host: "#e8edf3",
    frame: "#c5ced8",
    text: "#1b2733",
    faint: "#5b6b7b",
    bar: "#33506e",
    on_bar: "#ffffff",
    wire: "#8a9bad",
    port: "#0b7285",
    link: "#b3541e",
};

const DARK: Palette = Palette {
    page: "#10161d",
    lane: "#161d26",
    card: "#1f2933",
    host: "#1f2933",
    frame: "#38444f",
    text: "#e6edf3",
    faint: "#9fb0c0",
    bar: "#7fa6cf",
    on_bar: "#10161d",
    wire: "#62748a",
    port: "#3fc1d6",
    link: "#f2a071",
};

impl Palette {
    fn style(&self) -> String {
        let Self { page, lane, card, host, frame, text, faint, bar, on_bar, wire, port, link } = self;
        format!(
            "text{{fill:{text}}}.faint{{fill:{faint}}}.page{{fill:{page}}}.lane{{fill:{lane}}}.card{{fill:{card}}}\
             .host{{fill:{host}}}.lane,.card,.host{{stroke:{frame}}}.bar{{fill:{bar}}}.bar-name{{fill:{on_bar}}}\
             .wire{{stroke:{wire}}}.port{{stroke:{port}}}.port-name,.port-head{{fill:{port}}}\
             .halo{{stroke:{lane}}}.link,.tag{{stroke:{link}}}.link-name,.link-head{{fill:{link}}}"
        )
    }
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
            LIGHT.style(),
            DARK.style(),
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

    /// Writes a text and answers about where it ends.
    pub(super) fn text(&mut self, class: &str, x: i32, y: i32, text: &str) -> i32 {
        self.put(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escape(text)));
        x + if class == "name" { bold_width(text) } else { width(text) }
    }

    /// Writes a text that ends at `x`.
    pub(super) fn text_to(&mut self, class: &str, x: i32, y: i32, text: &str) {
        let text = escape(text);
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{text}</text>"
        ));
    }

    /// Writes a text from below to above, around `y`.
    pub(super) fn vertical(&mut self, class: &str, x: i32, y: i32, text: &str) {
        let text = escape(text);
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" transform=\"rotate(-90 {x} {y})\">{text}</text>"
        ));
    }

    /// A text in a frame; answers where the frame ends.
    pub(super) fn tag(&mut self, x: i32, y: i32, text: &str) -> i32 {
        let inner = width(text);
        self.rect("tag", x, y, inner + 16, 22);
        let text = escape(text);
        let middle = x + inner / 2 + 8;
        self.put(format_args!(
            "<text class=\"link-name\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
            y + 16
        ));
        x + inner + 16
    }

    pub(super) fn line(&mut self, class: &str, from: (i32, i32), to: (i32, i32)) {
        self.put(format_args!("<path class=\"{class}\" d=\"M{} {}L{} {}\"/>", from.0, from.1, to.0, to.1));
    }

    pub(super) fn arrow(&mut self, class: &str, from: (i32, i32), to: (i32, i32)) {
        self.put(format_args!(
            "<path class=\"{class}\" d=\"M{} {}L{} {}\" marker-end=\"url(#{class})\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// An arrow that leaves an edge, runs at `out` and comes back to it.
    pub(super) fn arc(&mut self, class: &str, from: (i32, i32), to: (i32, i32), out: i32) {
        let step = if to.1 > from.1 { 10 } else { -10 };
        self.put(format_args!(
            "<path class=\"{class}\" d=\"M{} {}H{}Q{out} {} {out} {}V{}Q{out} {} {} {}H{}\" marker-end=\"url(#{class})\"/>",
            from.0,
            from.1,
            out - 10,
            from.1,
            from.1 + step,
            to.1 - step,
            to.1,
            out - 10,
            to.1,
            to.0
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
