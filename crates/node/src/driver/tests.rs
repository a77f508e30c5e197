//! The order in which the driver performs effects.

use lighter_engine::{Effect, ImageRead, Input, Wanted, WorkInput};
use lighter_types::{DiffId, OciDigest};
use tokio::sync::oneshot;

use super::*;
use crate::Node;
use crate::tests::Place;

/// While the driver performs a report of layers, it cancels the pull behind a plan. The moment that the engine names
/// after that counts, not the one it named before.
#[tokio::test]
async fn the_last_moment_to_wake_at_counts() {
    let place = Place::create();
    let config = place.config(&[place.peer_id], Vec::new());
    let Node { mut driver, .. } = Node::start(config).await.unwrap();
    // The first announcement is due half a second after the start, the next minutes later.
    driver.engine.push(Input::Tick);
    driver.settle();
    sleep_until(driver.engine.wake_at().map(|moment| driver.instant(moment))).await;
    driver.engine.push_tick();
    driver.settle();

    let (reply, _answer) = oneshot::channel();
    driver.plan("demo/app:1".to_owned(), Wanted::Manifest(OciDigest::new([1; 32])), reply);
    driver.settle();
    let pull = *driver.pulls.iter().next().unwrap().0;
    let read = ImageRead::layers(vec![DiffId::new([2; 32])]);
    driver.engine.push(WorkInput::ImageRead { pull, read });
    let effects = driver.engine.step_next(driver.shared.now()).unwrap();
    let first =
        effects.iter().find_map(|effect| if let Effect::WakeAt(moment) = effect { Some(*moment) } else { None });
    for effect in effects {
        driver.perform(effect);
    }
    assert!(first.is_some() && driver.engine.wake_at() == first, "the layer has a deadline; performing steps nothing");
    driver.settle();
    let last = driver.engine.wake_at();
    assert_ne!(last, first, "the pull is over, and its deadline with it");
    driver.engine.push_tick();
    driver.settle();
    assert_eq!(driver.engine.wake_at(), last, "it is what the engine wants");
}
