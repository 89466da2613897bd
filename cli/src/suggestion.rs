//! "Did you mean …": the nearest of the words that would have been right.

/// How similar two words must be, of 1, for one to be a misspelling of the other.
const SIMILAR: f64 = 0.75;
/// Longer texts are not compared, as that takes time.
const LONGEST: usize = 256;

/// The most similar word, if any is similar at all.
pub(crate) fn nearest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > LONGEST {
        return None;
    }
    let similar = |word: &'a str| (strsim::jaro_winkler(text, word), word);
    let (likeness, word) = words.into_iter().map(similar).max_by(|one, other| one.0.total_cmp(&other.0))?;
    (likeness >= SIMILAR).then_some(word)
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
