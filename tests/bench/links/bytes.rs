//! Bytes that an edge receives for an image, beside the bytes of the image's layers.

use anyhow::Result;
use lighter_tests::images::ImageFiles;

use super::site::{IMAGE, Site, blob_bytes, noise_image};
use crate::Bencher;
use crate::report::{Row, Section, median};

pub fn small(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    let figure = format!("{name}: received for 15 layers of 3 KB");
    section.add(received(bencher, name, &noise_image(4, 15, 3000), figure)?.ratio_at_most(1.15).goal(1.05));
    Ok(())
}

pub fn large(bencher: &Bencher, name: &str, section: &mut Section) -> Result<()> {
    let figure = format!("{name}: received for a layer of 300 KB that does not compress");
    section.add(received(bencher, name, &noise_image(5, 1, 300_000), figure)?.ratio_at_most(1.005).goal(1.002));
    Ok(())
}

/// The edge's own account of all protocols from the command to the end, and the bytes of the layers' blobs beside it.
fn received(bencher: &Bencher, name: &str, image: &ImageFiles, figure: String) -> Result<Row> {
    let mut received = Vec::new();
    for run in 0..bencher.link_runs {
        let site = Site::start(bencher, &format!("{name}-{run}"), &[None])?;
        site.release(image)?;
        received.push(site.edges[0].pull(IMAGE)?.received_bytes as f64);
        site.end()?;
    }
    let (received, blobs) = (median(received), blob_bytes(image) as f64);
    Ok(Row::new(figure, received, "bytes").beside("blobs", blobs, received / blobs))
}
