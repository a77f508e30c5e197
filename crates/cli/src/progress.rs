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

    /// Sets how far a named thing is. `note` stands at the end of the line.
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

    /// Ends a named thing's bar with a last word.
    pub fn finish(&mut self, name: &str, note: &str) {
        if let Some(bar) = self.by_name.remove(name) {
            bar.finish_with_message(note.to_owned());
        }
    }

    /// Prints a line above the bars.
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

/// How much less than `whole` was moved.
pub fn saved(moved: u64, whole: u64) -> String {
    if whole == 0 || moved >= whole {
        return "nothing saved".to_owned();
    }
    format!("{} saved ({:.1} %)", Bytes(whole - moved), 100.0 * (whole - moved) as f64 / whole as f64)
}

/// `1.2 s`, `340 ms`.
pub fn duration(ms: u64) -> String {
    let duration = Duration::from_millis(ms);
    if ms < 1000 { format!("{ms} ms") } else { format!("{:.1} s", duration.as_secs_f64()) }
}
