//! Text that is no YAML: the mistake that its author probably made. libyaml reports where it could
//! not go on, which is often lines below the mistake.

/// The line and column of the mistake, from 1, and the text about it; none if it is of no known
/// kind. `error` is the parser's message, `stopped` where it stopped.
pub(super) fn explain(
    text: &str,
    error: &str,
    stopped: Option<(usize, usize)>,
) -> Option<((usize, usize), String)> {
    // Our own message needs no explanation.
    if error.contains("stands here a second time") {
        return None;
    }
    let last = stopped.map_or(usize::MAX, |(line, _)| line);
    let lines = || text.lines().take(last).enumerate().map(|(n, line)| (n + 1, line));
    let tabbed = lines().find_map(|(n, line)| {
        let indent = line.len() - line.trim_start().len();
        let tab = line[..indent].find('\t')?;
        (indent < line.len()).then_some((n, tab + 1))
    });
    if let Some(at) = tabbed {
        return Some((at, "is a tab before the key: indent with spaces".into()));
    }
    if error.contains("scanning a quoted scalar")
        && let Some(at) = error.rsplit(" at ").next().and_then(mark)
    {
        return Some((at, "is a quote that is never closed".into()));
    }
    let open = lines().find_map(|(n, line)| Some((n, open_quote(line)?)));
    if let Some(at) = open {
        return Some((at, "is a quote that is not closed on its line".into()));
    }
    let at = stopped?;
    error.starts_with("mapping values are not allowed").then(|| {
        let text = "is a second `: ` on one line, or a line that is indented otherwise than its \
                    neighbours: put a value with `: ` in quotes, and begin keys of one section in \
                    one column";
        (at, text.to_owned())
    })
}

/// `line 3 column 9`.
fn mark(text: &str) -> Option<(usize, usize)> {
    let mut words = text.split_whitespace();
    match (words.next()?, words.next()?.parse().ok()?, words.next()?, words.next()?.parse().ok()?) {
        ("line", line, "column", column) => Some((line, column)),
        _ => None,
    }
}

/// The column of the quote that a value begins with, if the line does not close it.
fn open_quote(line: &str) -> Option<usize> {
    let value = line.find(": ").map(|at| at + 2)?;
    let at = value + line[value..].len() - line[value..].trim_start().len();
    let quote = line[at..].chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let quotes = line[at..].chars().filter(|c| *c == quote).count();
    (quotes % 2 == 1).then(|| line[..at].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_quote_is_found_where_it_opens() {
        assert_eq!(open_quote("  host: \"queue"), Some(9));
        assert_eq!(open_quote("  ü: 'queue"), Some(6));
        for closed in
            ["  host: 'it''s'", "  host: \"queue\"", "  host: queue", "host:", "# don't: x"]
        {
            assert_eq!(open_quote(closed), None, "{closed}");
        }
    }
}
