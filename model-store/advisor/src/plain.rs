//! Text from outside, as it may stand in a message, a page or a table.

/// True for what a terminal or a page would obey instead of showing: control characters, those that turn the direction of writing, and those
/// that are not seen at all and make two names look alike (Unicode's general categories Cc, Cf, Zl and Zp, but for private scripts' own).
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Cuts text from outside to what fits a message, on one line, without what a terminal would obey.
pub fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    let clean: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if is_hidden(c) { '?' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        format!("{clean}...")
    } else {
        clean
    }
}
