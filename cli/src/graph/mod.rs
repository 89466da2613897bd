//! A picture of the host: its networks, the containers on them, published ports and links.
//!
//! `picture` has what is drawn; `svg` arranges and draws it, `dot` and `mermaid` write it for programs that do.

mod dot;
mod mermaid;
mod picture;
mod svg;

pub(crate) use picture::Picture;

/// How the picture is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A drawing, for browsers and documents
    Svg,
    /// For Graphviz
    Dot,
    /// For Mermaid, which forges draw from Markdown
    Mermaid,
}

impl Picture {
    /// The picture as text.
    pub(crate) fn draw(&self, format: Format) -> String {
        match format {
            Format::Svg => svg::draw(self),
            Format::Dot => dot::draw(self),
            Format::Mermaid => mermaid::draw(self),
        }
    }
}

#[cfg(test)]
mod tests;
