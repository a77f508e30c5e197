//! Progress on stderr: a bar for each layer at a terminal, nothing elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lighter_types::Bytes;

use crate::output::{Output, short};

/// The bars of one command.
pub struct Progress {
    bars: Option<MultiProgress>,
    by_name: BTreeMap<String, ProgressBar>,
}

impl Progress {
    pub fn new(output: &Output) -> Self {
        Self { bars: output.draws().then(MultiProgress::new), by_name: BTreeMap::new() }
    }

    /// Moves the bar of this name. `note` stands at the end of its line.
    pub fn set(&mut self, name: &str, done: u64, total: u64, note: &str) {
        let Some(bars) = &self.bars else { return };
        let bar = self.by_name.entry(name.to_owned()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(total));
            bar.set_style(style());
            bar.set_prefix(short(name));
            bar
        });
        bar.set_length(total);
        bar.set_position(done.min(total));
        bar.set_message(note.to_owned());
    }

    /// Ends the bar of this name with a last note.
    pub fn finish(&mut self, name: &str, note: &str) {
        if let Some(bar) = self.by_name.remove(name) {
            bar.finish_with_message(note.to_owned());
        }
    }

    /// Prints a note above the bars.
    pub fn say(&self, output: &Output, text: &str) {
        match &self.bars {
            Some(bars) if !self.by_name.is_empty() => bars.suspend(|| output.say(text)),
            _ => output.say(text),
        }
    }
}

fn style() -> ProgressStyle {
    let template = "{prefix} {bar:24} {bytes:>11} of {total_bytes:<11} {bytes_per_sec:>12} {eta:>4} left  {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How much less was received than the whole layer has.
pub fn saved(received: Bytes, whole: Bytes) -> String {
    if received >= whole {
        return "nothing saved".to_owned();
    }
    let saved = whole - received;
    format!("{saved} saved ({:.1} %)", 100.0 * saved.0 as f64 / whole.0 as f64)
}

/// `1.2 s`, `340 ms`.
pub fn duration(ms: u64) -> String {
    let duration = Duration::from_millis(ms);
    if ms < 1000 { format!("{ms} ms") } else { format!("{:.1} s", duration.as_secs_f64()) }
}
