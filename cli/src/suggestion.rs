//! "Did you mean …": the nearest of the words that would have been right.

/// How alike two words must be, of 1, for the one to be a slip of the other.
const ALIKE: f64 = 0.75;
/// Nothing that is longer is a slip of a word; comparing it would take its time.
const LONGEST: usize = 256;

/// The most similar word, if any is similar at all.
pub(crate) fn nearest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > LONGEST {
        return None;
    }
    let alike = |word: &'a str| (strsim::jaro_winkler(text, word), word);
    let (likeness, word) = words.into_iter().map(alike).max_by(|one, other| one.0.total_cmp(&other.0))?;
    (likeness >= ALIKE).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_seen_and_strangers_left_alone() {
        let words = ["bridge", "macvlan", "host-port"];
        assert_eq!(nearest("bdidge", words), Some("bridge"));
        assert_eq!(nearest("overlay", words), None);
        assert_eq!(nearest("x", []), None);
        assert_eq!(nearest(&"bridge".repeat(1000), words), None);
    }
}
