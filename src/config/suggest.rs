//! "Did you mean": the nearest of the words that would have been right.

/// The closing words of an error about `given`, empty when none of `words` is near.
pub(crate) fn did_you_mean<'a>(given: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, words).map_or_else(String::new, |word| format!("; did you mean `{word}`?"))
}

/// The word at the smallest distance from `given`, whatever the case, if it differs in no more than
/// a third of its letters.
pub(super) fn nearest<'a>(
    given: &str,
    words: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = 1.max(given.chars().count() / 3);
    let measured = words.into_iter().map(|word| (distance(given, word), word));
    measured
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many letters must be put in, taken out, replaced, or swapped with their neighbour to turn
/// `a` into `b`.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| -> Vec<char> {
        text.chars().take(100).map(|c| c.to_ascii_lowercase()).collect()
    };
    let (a, b) = (letters(a), letters(b));
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_are_near() {
        for (a, b, steps) in [
            ("grcp", "grpc", 1),
            ("GRPC", "grpc", 0),
            ("", "abc", 3),
            ("max_backof", "max_backoff", 1),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (steps, steps), "{a} {b}");
        }
        assert_eq!(nearest("UNAVAILABEL", ["ABORTED", "UNAVAILABLE"]), Some("UNAVAILABLE"));
    }

    #[test]
    fn what_is_far_is_not_suggested() {
        assert_eq!(did_you_mean("colour", ["host", "port", "timeout"]), "");
        assert_eq!(did_you_mean("prot", ["host", "port"]), "; did you mean `port`?");
    }
}
