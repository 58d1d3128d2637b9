//! Text of other people on its way to a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto_client::safe_text::SafeText;

fuzz_target!(|text: &str| {
    let shown = SafeText::line(text, 200).as_str().to_owned();
    assert!(!shown.chars().any(|shown| {
        shown.is_control() || matches!(shown, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    }));
});
