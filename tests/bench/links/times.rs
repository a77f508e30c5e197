//! Times of pulls over a far, lossy or thin link, and the queue that a pull adds there.

use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail};
use lighter_tests::forecast::{Forecast, forecast};
use lighter_tests::images::{self, ImageFiles, Media};
use lighter_tests::link::Conditions;
use lighter_tests::relay::{Both, Settings};

use super::LinkRow;
use super::site::{IMAGE, Site, noise_image};
use crate::Bencher;
use crate::nodes::Pulled;
use crate::report::{Row, Section, median};

/// The whole layer: 3.55 MiB that do not compress.
const LAYER_BYTES: usize = 3_722_445;
/// The queue before the link, unless the row is about it.
const QUEUE: Duration = Duration::from_millis(300);
/// The round trips that a pull may take beside its bytes.
const ROUND_TRIPS: f64 = 3.0;

#[derive(Clone, Copy)]
struct Line {
    bits_per_second: u64,
    /// Away from the edge, where it differs.
    up_bits_per_second: Option<u64>,
    round_trip: Duration,
    loss: f64,
    queue: Duration,
}

impl Line {
    const fn new(bits_per_second: u64, round_trip_ms: u64, loss: f64) -> Self {
        let round_trip = Duration::from_millis(round_trip_ms);
        Self { bits_per_second, up_bits_per_second: None, round_trip, loss, queue: QUEUE }
    }

    /// The least that the link allows for so many bytes.
    fn least_seconds(&self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 / self.bits_per_second as f64 + ROUND_TRIPS * self.round_trip.as_secs_f64()
    }

    fn conditions(&self) -> Conditions {
        Conditions {
            delay: self.round_trip / 2,
            bits_per_second: Some(self.bits_per_second),
            queue: self.queue,
            loss: self.loss,
            ..Conditions::default()
        }
    }

    /// The relay's settings for a run: each run has its own chance.
    fn settings(&self, run: u32) -> Settings {
        let down = self.conditions();
        let up_rate = self.up_bits_per_second.or(down.bits_per_second);
        let up = Conditions { bits_per_second: up_rate, ..down.clone() };
        Settings { up, down, forgets_after: None, seed: u64::from(run) + 1 }
    }

    fn text(&self) -> String {
        let (megabits, loss) = (self.bits_per_second as f64 / 1e6, self.loss * 100.0);
        let up = self.up_bits_per_second.map_or_else(String::new, |rate| format!(" ({} kbit/s up)", rate / 1000));
        format!("{megabits} Mbit/s{up}, {} ms, loss {loss} %", self.round_trip.as_millis())
    }
}

/// A pull, and the datagrams at the relay during it.
struct Run {
    pulled: Pulled,
    carried: Both,
}

/// Pulls `new` over the line by an edge that has `old`, once for each run.
fn pulls(bencher: &Bencher, name: &str, line: &Line, old: Option<&ImageFiles>, new: &ImageFiles) -> Result<Vec<Run>> {
    (0..bencher.link_runs)
        .map(|run| {
            let site = Site::start(bencher, &format!("{name}-{run}"), &[Some(line.settings(run))])?;
            if let Some(old) = old {
                for node in [&site.hub, &site.edges[0]] {
                    site.import(node, old, "bench/links:0")?;
                }
            }
            site.release(new)?;
            let relay = site.relays.first().context("a relay")?;
            relay.reset_counts();
            let pulled = site.edges[0].pull(IMAGE)?;
            let carried = relay.counts();
            eprintln!("bench: links: {name}: {:.1} s, {} retries", pulled.seconds, pulled.trouble.len());
            site.end()?;
            Ok(Run { pulled, carried })
        })
        .collect()
}

fn seconds(runs: &[Run]) -> f64 {
    median(runs.iter().map(|run| run.pulled.seconds))
}

fn note(runs: &[Run]) -> String {
    let (least, most) = runs.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), run| {
        (least.min(run.pulled.seconds), most.max(run.pulled.seconds))
    });
    let retries = runs.iter().map(|run| run.pulled.trouble.len()).sum::<usize>();
    let sent = median(runs.iter().map(|run| run.carried.down.offered.bytes as f64));
    format!(
        "{least:.1} to {most:.1} s, {retries} retries in {} runs; {sent:.0} bytes sent towards the edge",
        runs.len()
    )
}

pub fn whole_layer(bencher: &Bencher, row: LinkRow, name: &str, section: &mut Section) -> Result<()> {
    let (line, bar, goal) = match row {
        LinkRow::FarLossy => (Line::new(8_000_000, 600, 0.01), 1.4, 1.1),
        LinkRow::Lossy => (Line::new(8_000_000, 80, 0.01), 1.3, 1.1),
        LinkRow::ThinLossy => (Line::new(1_000_000, 600, 0.02), 1.3, 1.1),
        LinkRow::Loss5 => (Line::new(8_000_000, 80, 0.05), 1.6, 1.2),
        LinkRow::Loss10 => (Line::new(8_000_000, 80, 0.1), 2.2, 1.4),
        LinkRow::Far => (Line::new(8_000_000, 600, 0.0), 1.2, 1.05),
        LinkRow::Near => (Line::new(8_000_000, 20, 0.0), 1.1, 1.05),
        LinkRow::ThinUplink => (Line { up_bits_per_second: Some(64_000), ..Line::new(20_000_000, 80, 0.0) }, 2.0, 1.5),
        other => bail!("{other:?} pulls no whole layer"),
    };
    let image = noise_image(1, 1, LAYER_BYTES);
    let runs = pulls(bencher, name, &line, None, &image)?;
    let least = line.least_seconds(LAYER_BYTES as u64);
    let seconds = seconds(&runs);
    section.add(
        Row::new(format!("{name}: 3.55 MiB, {}", line.text()), seconds, "s")
            .beside("bytes / rate + 3 round trips", least, seconds / least)
            .ratio_at_most(bar)
            .goal(goal)
            .note(note(&runs)),
    );
    let forecast = forecast(&image, 1, &line.conditions()).map_err(Error::msg)?;
    let carried = median(runs.iter().map(|run| run.carried.down.offered.ip_bytes() as f64));
    add_forecast(name, &forecast, seconds, carried, section);
    Ok(())
}

/// The simulator's forecast beside what the nodes did.
pub fn add_forecast(name: &str, forecast: &Forecast, seconds: f64, down_bytes: f64, section: &mut Section) {
    let row = Row::new(format!("{name}: simulated"), forecast.seconds, "s");
    section.add(row.beside("the nodes", seconds, forecast.seconds / seconds));
    let bytes = forecast.down_bytes as f64;
    let row = Row::new(format!("{name}: bytes to the edges, simulated"), bytes, "bytes");
    section.add(row.beside("the nodes", down_bytes, bytes / down_bytes));
}

pub fn patch(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    const PATCH_BYTES: usize = 261 << 10;
    let line = Line::new(8_000_000, 600, 0.0);
    // 13 of 14 files are the same.
    let release = |number: u64| {
        let names: Vec<String> = (0..14).map(|file| format!("usr/lib/app/{file:02}")).collect();
        let seed = |file: u64| if file == 7 { 100 + number } else { file };
        let files: Vec<Vec<u8>> = (0..14).map(|file| images::noise(seed(file), PATCH_BYTES)).collect();
        let files: Vec<(&str, &[u8])> =
            names.iter().zip(&files).map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        images::layout_of(&[(images::tar(&files), Media::Gzip)])
    };
    let runs = pulls(bencher, name, &line, Some(&release(1)), &release(2))?;
    let patch_bytes = median(runs.iter().map(|run| run.pulled.patch_bytes as f64));
    let note = format!("a patch of {patch_bytes:.0} bytes; {}", note(&runs));
    let figure = format!("{name}: patch of 261 KiB, {}", line.text());
    section.add(Row::new(figure, seconds(&runs), "s").at_most(3.0).goal(2.0).note(note));
    Ok(())
}

pub fn layers(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    let line = Line::new(8_000_000, 600, 0.0);
    let runs = pulls(bencher, name, &line, None, &noise_image(2, 15, 3000))?;
    let figure = format!("{name}: 15 layers of 3 KB, {}", line.text());
    section.add(Row::new(figure, seconds(&runs), "s").at_most(2.5).goal(1.8).note(note(&runs)));
    Ok(())
}

pub fn queue(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    let line = Line { queue: Duration::from_secs(1), ..Line::new(8_000_000, 80, 0.0) };
    let runs = pulls(bencher, name, &line, None, &noise_image(1, 1, LAYER_BYTES))?;
    let of = |wait: &dyn Fn(&Run) -> Duration| median(runs.iter().map(|run| wait(run).as_secs_f64() * 1000.0));
    let most = of(&|run| run.carried.down.wait(0.95));
    let note = format!(
        "95 of 100 datagrams waited at most so long; half at most {:.0} ms, the longest {:.0} ms; {}",
        of(&|run| run.carried.down.wait(0.5)),
        of(&|run| run.carried.down.longest_wait),
        note(&runs)
    );
    let figure = format!("{name}: the queue that a pull adds, {}, queue of 1 s", line.text());
    section.add(Row::new(figure, most, "ms").at_most(200.0).goal(50.0).note(note));
    Ok(())
}
